"""Which techniques go together (controls.md 9): one table, asked when a graph is checked and before a run.

A pair of techniques that both hold state and stand in no row is refused. Techniques that only look, or only
weigh columns, go with everything. What no table can know (two controls writing the same tokens) is found by
`controls/plan.py` before the first network call; that also holds for a plugin's control without a technique.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from studio.controls.control import AttentionControl, Several
from studio.errors import StudioError

# The order in which controls act at a site, whatever the order in which they were connected.
TITLES = {
    "force": "stay on the picture's own path",
    "inject_v": "values from the picture",
    "text_layers": "words in chosen layers",
    "edit": "edit by prompt",
    "look": "keep the look",
    "subject": "keep the subject",
    "regions": "regions",
    "weight": "word weight",
    "nag": "avoid (NAG)",
    "nasa": "avoid (NASA)",
    "blend": "local blend",
    "concepts": "watch concepts",
    "four_block": "watch blocks",
    "word_maps": "watch words",
    "region_maps": "watch regions",
    "estimates": "watch estimates",
}
FREE = frozenset({"weight", "word_maps", "region_maps", "four_block", "estimates"})


@dataclass(frozen=True)
class Rule:
    """`verdict`: works, apart (only where they do not meet in a step and a block), or refused; `reason` and
    `remedy` for a person. `meets`: the reason where two that work do meet by some setting, if what both
    change does not say it."""

    verdict: str
    reason: str
    remedy: str = ""
    meets: str = ""


WORKS, APART, REFUSED = "works", "apart", "refused"
KEEP_APART = "Let one of them end before the other starts, or write other blocks into one of them."
COPY_LESS = (
    "Set the projection of the edit to qiki, which copies the picture's queries and keys alone; or let one "
    "of them end before the other starts."
)
_LAYS_OUT = "both lay out the new picture after the old one, each in its own way"
_TABLE: dict[tuple[str, str], Rule] = {
    ("edit", "blend"): Rule(WORKS, "the blend works on the latents between steps"),
    ("edit", "regions"): Rule(
        WORKS,
        "one token layout; both rows get the regions; by a block of the scores only at different steps",
        "Set the block of the edit to none, so that it copies queries and keys; or let one of them end "
        "before the other starts.",
        "by a block of the scores the edit, too, decides what each part of the picture may look at",
    ),
    ("edit", "text_layers"): Rule(WORKS, "they write different tokens", COPY_LESS),
    ("edit", "subject"): Rule(
        WORKS, "three rows; edit first, then the reference's keys are appended", COPY_LESS
    ),
    ("edit", "nag"): Rule(WORKS, "the edit comes first; both rows carry the avoided prompt"),
    ("edit", "nasa"): Rule(WORKS, "the edit comes first; both rows carry the avoided prompt"),
    ("edit", "force"): Rule(WORKS, "the source row follows the stored path of the picture"),
    ("edit", "inject_v"): Rule(
        WORKS, "queries and keys come from the source, values from the store", COPY_LESS
    ),
    ("edit", "look"): Rule(APART, _LAYS_OUT, KEEP_APART),
    ("blend", "regions"): Rule(WORKS, "the blend works on the latents between steps"),
    ("blend", "nag"): Rule(WORKS, "the blend works on the latents between steps"),
    ("blend", "nasa"): Rule(WORKS, "the blend works on the latents between steps"),
    ("blend", "look"): Rule(WORKS, "the blend works on the latents between steps"),
    ("blend", "text_layers"): Rule(WORKS, "the blend works on the latents between steps"),
    ("blend", "subject"): Rule(WORKS, "the blend works on the latents between steps"),
    ("blend", "force"): Rule(WORKS, "the source row is put in its place before the blend"),
    ("blend", "inject_v"): Rule(WORKS, "the blend works on the latents between steps"),
    ("force", "inject_v"): Rule(WORKS, "both read one stored path"),
    ("force", "look"): Rule(WORKS, "the source row follows the stored path of the picture"),
    ("look", "nag"): Rule(WORKS, "keys and values are shared first; the avoided prompt comes around"),
    ("look", "regions"): Rule(
        APART,
        "with an object named, both decide what each part of the picture may look at",
        "Empty the words of keep the look, so that it keeps the whole picture; or let one of them end before "
        "the other starts.",
    ),
    ("subject", "regions"): Rule(WORKS, "the reference's keys join the passes of the picture's tokens"),
    ("subject", "nag"): Rule(WORKS, "the reference's keys join the positive pass only"),
    ("regions", "nag"): Rule(WORKS, "NAG stands around the regions"),
    ("regions", "nasa"): Rule(WORKS, "NASA stands around the regions"),
    ("concepts", "regions"): Rule(WORKS, "concept words are seen by nobody; within 1e-5, not bit-equal"),
    ("concepts", "nag"): Rule(WORKS, "concept words are seen by nobody; within 1e-5, not bit-equal"),
    ("concepts", "edit"): Rule(WORKS, "concept words are seen by nobody; within 1e-5, not bit-equal"),
    ("concepts", "blend"): Rule(WORKS, "concept words are seen by nobody; within 1e-5, not bit-equal"),
    ("look", "look"): Rule(APART, _LAYS_OUT, KEEP_APART),
    ("text_layers", "text_layers"): Rule(
        APART, "both put other words in the place of the prompt's", KEEP_APART
    ),
    ("nag", "nasa"): Rule(REFUSED, "both take what you avoid out of the picture, and twice is too much"),
    ("regions", "regions"): Rule(REFUSED, "one layout leads a picture; put all regions into it"),
    ("edit", "edit"): Rule(REFUSED, "a picture has one source; change all words in one edit"),
    ("nag", "nag"): Rule(REFUSED, "write everything to avoid into one prompt"),
    ("nasa", "nasa"): Rule(REFUSED, "write everything to avoid into one prompt"),
    ("blend", "blend"): Rule(REFUSED, "two blends would undo each other; name all words in one"),
}


def rule(one: str, other: str) -> Rule:
    """The rule of two techniques, in either order."""
    if not one or not other or one in FREE or other in FREE:
        return Rule(WORKS, "it only looks, or only weighs words")
    found = _TABLE.get((one, other)) or _TABLE.get((other, one))
    return found or Rule(REFUSED, "nobody has shown that they work together")


def refusals(techniques: Sequence[str]) -> Iterator[tuple[str, str, Rule]]:
    """Every pair among these that cannot go together at all."""
    for one, other in combinations(techniques, 2):
        found = rule(one, other)
        if found.verdict == REFUSED:
            yield one, other, found


def compose(controls: Sequence[AttentionControl]) -> tuple[AttentionControl, ...]:
    """The controls in the order in which they act, each under a name of its own. StudioError for a pair that
    does not go together."""
    for one, other, found in refusals([control.technique for control in controls]):
        raise StudioError(
            f"{title(one)} and {title(other)} cannot be used in one run: {found.reason}.",
            socket="attachments",
            hint=f"Disconnect one of them. {title(one)} goes with {partners(one)}.",
        )
    place = {technique: index for index, technique in enumerate(TITLES)}
    return told_apart(sorted(controls, key=lambda control: place.get(control.technique, len(place))))


def told_apart(controls: Sequence[AttentionControl]) -> tuple[AttentionControl, ...]:
    """The controls, those of one name numbered if they may be several."""
    known: Counter[str] = Counter()
    found: list[AttentionControl] = []
    for control in controls:
        known[control.name] += 1
        number = known[control.name]
        if number > 1 and isinstance(control, Several):
            control = replace(control, number=number)
        found.append(control)
    return tuple(found)


def called(control: AttentionControl) -> str:
    """A control as a message names it: its technique in words, a plugin's by its own name."""
    return repr(title(control.technique) if control.technique in TITLES else control.name)


def title(technique: str) -> str:
    """A technique in words, to begin a sentence with."""
    words = TITLES.get(technique, technique or "a control")
    return words[0].upper() + words[1:]


def partners(technique: str) -> str:
    """The techniques it goes with, as a list in words."""
    found = [words for other, words in TITLES.items() if rule(technique, other).verdict == WORKS]
    return ", ".join(found)


def table() -> tuple[tuple[str, str, Rule], ...]:
    """Every pair of known techniques, once: for the docs and the tests."""
    names = list(TITLES)
    return tuple((a, b, rule(a, b)) for i, a in enumerate(names) for b in names[i:])
