"""What a prompt asks for: named objects with the properties it states, their relations, the background."""

from __future__ import annotations

from dataclasses import dataclass, replace

from studio.scenes.words import VALUES, tokenize
from studio.scenes.world import COLOURS, PLACES

# How far apart (share of the picture) two centres must lie for "left of", "above" ... to hold.
RELATION_GAP = 0.1
_OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
# Words that people type for "above" and "below" though captions do not.
_TYPED_RELATIONS = {"over": "above", "beneath": "below", "underneath": "below", "under": "below"}


@dataclass(frozen=True)
class WantedObject:
    """A named object; a property that the prompt does not state is None."""

    kind: str
    colour: str | None = None
    pattern: str | None = None
    size: str | None = None
    place: str | None = None


@dataclass(frozen=True)
class Wanted:
    """Objects in the prompt's order; `relations` are (first, "left"/"right"/"above"/"below", second)."""

    objects: tuple[WantedObject, ...]
    relations: tuple[tuple[int, str, int], ...] = ()
    background: str | None = None


def coloured(wanted: Wanted) -> tuple[tuple[tuple[float, float, float], tuple[float, float] | None], ...]:
    """The objects whose colour is stated: RGB and centre (x, y), 0..1; None where no place is stated."""
    things = []
    for thing in wanted.objects:
        if thing.colour is not None:
            red, green, blue = (value / 255 for value in COLOURS[thing.colour])
            things.append(((red, green, blue), PLACES[thing.place] if thing.place else None))
    return tuple(things)


def parse(prompt: str) -> Wanted:
    """Reads a prompt as the captions are written, and as people write; unknown words are passed over."""
    tokens = tokenize(prompt)
    # "top left a red star, middle a house": places before the first noun belong to the noun that follows.
    places_first = _places_lead(tokens)
    objects: list[WantedObject] = []
    relations: list[tuple[int, str, int]] = []
    pending: dict[str, str] = {}
    place: list[str] = []
    relation: str | None = None
    background: str | None = None

    def flush_place() -> None:
        if place and objects and not places_first:
            objects[-1] = replace(objects[-1], place=_place_name(place))
        if not places_first:
            place.clear()

    for index, token in enumerate(tokens):
        if token in VALUES["background"]:
            background = VALUES["background"][token]
        elif token in ("under", "below", "underneath") and tokens[index + 1 : index + 2] == ["water"]:
            background = "underwater"
        elif (found := _relation_at(tokens, index)) is not None and objects:
            if not places_first:
                place.clear()
            relation = found
            if tokens[index + 1 : index + 2] == ["it"] or tokens[index + 1 : index + 3] == ["of", "it"]:
                if len(objects) > 1:
                    relations.append((len(objects) - 1, relation, len(objects) - 2))
                relation = None
        elif token in VALUES["place"]:
            place.append(VALUES["place"][token])
        elif token in VALUES["kind"]:
            if not places_first:
                flush_place()
            objects.append(WantedObject(VALUES["kind"][token], **pending))  # type: ignore[arg-type]
            if places_first and place:
                objects[-1] = replace(objects[-1], place=_place_name(place))
                place.clear()
            pending = {}
            if relation is not None:
                relations.append((len(objects) - 2, relation, len(objects) - 1))
                relation = None
        else:
            for name in ("colour", "size", "pattern"):
                if token not in VALUES[name]:
                    continue
                if token in ("stripes", "dots", "spots") and objects and not pending:
                    objects[-1] = replace(objects[-1], pattern=VALUES[name][token])
                    continue
                flush_place()
                pending[name] = VALUES[name][token]
    flush_place()
    return Wanted(tuple(objects), tuple(relations), background)


def _places_lead(tokens: list[str]) -> bool:
    for token in tokens:
        if token in VALUES["kind"]:
            return False
        if token in VALUES["place"]:
            return True
    return False


def _relation_at(tokens: list[str], index: int) -> str | None:
    token = tokens[index]
    if token in VALUES["relation"]:
        return token
    if token in _TYPED_RELATIONS:
        return _TYPED_RELATIONS[token]
    following = tokens[index + 1 : index + 2]
    if token in ("left", "right") and following == ["of"]:
        return token
    if token == "top" and following == ["of"]:
        return "above"
    return None


def _place_name(words: list[str]) -> str:
    row = next((word for word in words if word in ("top", "bottom")), "")
    column = next((word for word in words if word in ("left", "right")), "")
    return f"{row} {column}".strip() or "middle"


def holds(relation: str, first: tuple[float, float], second: tuple[float, float]) -> bool:
    """Whether two centres (x, y in 0..1) stand in the relation."""
    axis = 0 if relation in ("left", "right") else 1
    if relation in ("right", "below"):
        first, second = second, first
    return second[axis] - first[axis] > RELATION_GAP
