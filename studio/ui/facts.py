"""What the page knows of this studio: models and their words, sizes, limits, device. One for everybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from studio.ui.fitted import SETS
from studio.ui.forms import shapes

if TYPE_CHECKING:
    from studio.studio import Studio

# Starting points in the words of the scene world; shown only if the model knows every word of them.
EXAMPLES = (
    "a red star on the left and a blue house on the right, at night",
    "a yellow boat in the middle, by the sea",
    "a large green tree and a small orange mushroom, in the forest",
    "a pink balloon at the top, at sunset",
    "a white house in the snow",
    "a purple striped fish underwater",
)


def facts(studio: Studio) -> dict[str, object]:
    """Constant JSON for the page's components: no person's data, no path of the server."""
    models = [known_model(card) for card in studio.model_cards()]
    size = models[0]["size"] if models else None
    native = (int(size[0]), int(size[1])) if isinstance(size, Sequence) and len(size) == 2 else (256, 256)
    return {
        "models": models,
        "loras": known_loras(studio),
        "sizes": shapes(native),
        "device": studio.device_label(),
        "maxPrompt": studio.policy.max_prompt,
        "maxUpload": studio.policy.max_upload_bytes,
        "public": studio.policy.is_public,
        "sets": {kind: list(names) for kind, names in SETS.items()},
    }


def known_model(card: Mapping[str, object]) -> dict[str, object]:
    """A model as the page knows it, from its card and `ref`."""
    ref = str(card.get("ref", ""))
    vocabulary = grouped(card.get("vocabulary"))
    given = card.get("examples")
    examples = [str(text) for text in given] if isinstance(given, Sequence) else _fitting(vocabulary)
    return {
        "ref": ref,
        "title": str(card.get("title") or card.get("name") or ref),
        "size": card.get("size") or [256, 256],
        "sizes": card.get("sizes") or [],
        "demo": bool(card.get("demo", ref.startswith("embedded:"))),
        "limits": str(card.get("limits") or ""),
        "preset": card.get("preset"),
        "vocabulary": vocabulary,
        "examples": examples,
    }


def known_loras(studio: Studio) -> list[dict[str, object]]:
    """The LoRA files that can be used here, each with what it asks of a run, if that is known."""
    found = [info for info in studio.models.loras() if not info.problem]
    return [{"ref": info.ref, "title": info.title, "preset": info.card.get("preset")} for info in found]


def grouped(vocabulary: object) -> dict[str, list[str]]:
    """A card's vocabulary by group; a flat list becomes one group."""
    if isinstance(vocabulary, Mapping):
        return {str(group): [str(word) for word in words] for group, words in vocabulary.items()}
    if isinstance(vocabulary, Sequence) and not isinstance(vocabulary, str):
        return {"All words": [str(word) for word in vocabulary if str(word).isalpha()]}
    return {}


def _fitting(vocabulary: Mapping[str, Sequence[str]]) -> list[str]:
    known = {word for words in vocabulary.values() for word in words}
    return [text for text in EXAMPLES if set(text.replace(",", "").split()) <= known]
