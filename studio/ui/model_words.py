"""What the models that come with Weft can do, in words for people who paint; cards keep the makers' own.

A card is a part of what a model is (its digest covers it), so these words stand here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

SCENES = "Paper-cut scenes of one to four things, in colours, by day and night, in snow, by the sea and more."
KNOWS = "It knows only the words of its list; other words do nothing."
SQUARE = "It learnt on square pictures: other shapes come out less well."
DRAWN = "From paper-cut scenes that Weft drew itself."
HONEST = "Some combinations were kept from it, to test it on what it had never seen."
WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "embedded:scenes-sd3": {
        "paints": (SCENES, KNOWS),
        "weak": (
            SQUARE,
            "Of four things one goes wrong in about one picture of four.",
            "In fewer than sixteen steps dots and stripes come out plain more often.",
        ),
        "learnt": (DRAWN, HONEST),
    },
    "embedded:scenes-flux": {
        "paints": (
            SCENES,
            KNOWS,
            "It is built like FLUX.1, so that all that needs such a model can be tried.",
        ),
        "weak": (
            "It learnt for less than two hours.",
            SQUARE,
            "Stripes, dots and the kind of a thing go wrong more often than with Scenes.",
            "Where only a place is said (a cup left of a star), one thing is often drawn twice.",
        ),
        "learnt": (DRAWN, HONEST, "It began with what Scenes had learnt."),
    },
    "embedded:scenes-sd3-turbo": {
        "paints": ("The same world as Scenes, in four steps.", KNOWS),
        "weak": (
            "Edges are ragged in one and two steps, and sometimes in four.",
            "Several seeds of one prompt are more alike than with Scenes.",
        ),
        "learnt": ("From pictures that Scenes had painted: it learnt the short way to each of them.",),
    },
}


def words_of(ref: str, card: Mapping[str, object]) -> dict[str, list[str]]:
    """Sentences on what a model paints, where it is weak and what it learnt from; empty for a model not ours.

    How many pictures it learnt from is read from its card.
    """
    training = card.get("training")
    data = training.get("data") if isinstance(training, Mapping) else None
    count = re.search(r"(\d[\d,]*) scenes", data) if isinstance(data, str) else None
    found = {name: list(sentences) for name, sentences in WORDS.get(ref, {}).items()}
    if count and found.get("learnt", [""])[0] == DRAWN:
        number = f"{int(count[1].replace(',', '')):,}"
        found["learnt"][0] = f"{DRAWN[:-1]}: {number} of them, described in several ways."
    return found
