"""Reading what a run has seen: the maps of one control, for one picture, as means, by block or by step."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import torch

from studio.errors import StudioError, did_you_mean
from studio.values import Seen, SeenMap

# whose maps are shown where several trajectories ran side by side
ROLES = ("target", "cond")
# label, quiet note, map
Named = tuple[str, str, torch.Tensor]


def maps_of(seen: Seen, name: str, what: str) -> tuple[SeenMap, ...]:
    """The maps of a control for the picture that came out; `what` is how a person calls the node that
    watches. Of several that watched under this name those with the labels of the first. StudioError if nobody
    watched."""
    return groups_of(seen, name, what)[0]


def groups_of(seen: Seen, name: str, what: str) -> tuple[tuple[SeenMap, ...], ...]:
    """The maps of all controls that watched under a name (`control.Several`), those with the same labels
    together; see `maps_of`."""
    for role in ROLES:
        found: dict[tuple[str, ...], list[SeenMap]] = {}
        for map in seen.maps:
            if map.role == role and _first_name(map.name) == name:
                found.setdefault(map.labels, []).append(map)
        if found:
            return tuple(tuple(maps) for maps in found.values())
    raise StudioError(
        f"Nothing was watched that this node could show: the run had no {what}.",
        socket="seen",
        hint=f"Connect {what} to the attachments of the Sample node, and its second output to this node.",
    )


def _first_name(name: str) -> str:
    """The name of a map if its control were the only one: "words (2)/looks" -> "words/looks"."""
    owner, slash, end = name.partition("/")
    return re.sub(r" \(\d+\)$", "", owner) + slash + end


def once_each(groups: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """The words that several watched, each label told from those before it: a second "star" is "star (2)"."""
    known: Counter[str] = Counter()
    found = []
    for words in groups:
        before = dict(known)
        known.update({word.casefold() for word in words})
        numbers = (before.get(word.casefold(), 0) + 1 for word in words)
        found.append(tuple(w if n == 1 else f"{w} ({n})" for w, n in zip(words, numbers, strict=True)))
    return tuple(found)


def check_picture(maps: Sequence[SeenMap], picture: int) -> None:
    """StudioError unless the run made that many pictures."""
    batch = int(maps[0].values.shape[0])
    if not 0 <= picture < batch:
        raise StudioError(
            f"There is no picture {picture}; the run made {batch}.",
            socket="picture",
            hint=f"Possible: 0 to {batch - 1}.",
        )


def mean_map(maps: Sequence[SeenMap], picture: int = 0) -> torch.Tensor:
    """The mean over all blocks and steps: row, column, group."""
    check_picture(maps, picture)
    whole = [map for map in maps if map.step < 0 and not map.site]
    return torch.stack([map.values[picture] for map in whole or maps]).mean(0)


def by_block(maps: Sequence[SeenMap], picture: int = 0) -> tuple[Named, ...]:
    """("block 3", what kind of block, mean over steps) for each block, in the order in which they run; the
    kind is said only where there are several."""
    kinds = {map.kind for map in maps if map.step >= 0}
    notes = {"joint_double": "double", "joint_single": "single"} if len(kinds) > 1 else {}
    return _by(
        maps, picture, lambda map: map.index, lambda map: (f"block {map.index}", notes.get(map.kind, ""))
    )


def by_step(maps: Sequence[SeenMap], picture: int = 0) -> tuple[Named, ...]:
    """("step 1", "noise 0.95", mean over blocks) for each step, in order; steps count from 1, as progress
    does."""
    return _by(
        maps, picture, lambda map: map.step, lambda map: (f"step {map.step + 1}", f"noise {map.sigma:.2f}")
    )


def word_columns(labels: Sequence[str], wanted: str, words: int) -> tuple[int, ...]:
    """The columns of the words in a list such as "star, house"; empty text = all of them. `words`: how many
    of the labels are words. StudioError with the nearest one for a word that was not watched."""
    known = list(labels[:words])
    found = []
    for name in (piece.strip() for piece in wanted.split(",") if piece.strip()):
        match = [i for i, label in enumerate(known) if label.casefold() == name.casefold()]
        if not match:
            raise StudioError(
                f"The word {name!r} was not watched.",
                socket="word",
                hint=did_you_mean(name, known) or f"Watched: {', '.join(known)}.",
            )
        found += [column for column in match if column not in found]
    return tuple(found) or tuple(range(words))


def _by(
    maps: Sequence[SeenMap],
    picture: int,
    key: Callable[[SeenMap], int],
    label: Callable[[SeenMap], tuple[str, str]],
) -> tuple[Named, ...]:
    check_picture(maps, picture)
    groups: dict[int, list[SeenMap]] = {}
    for map in maps:
        if map.step >= 0 and map.index >= 0:
            groups.setdefault(key(map), []).append(map)
    if not groups:
        raise StudioError(
            "Only the mean over all blocks and steps was kept.",
            socket="grid",
            hint="Switch on 'every' at the node that watches, and run again.",
        )
    return tuple(
        (*label(found[0]), torch.stack([map.values[picture] for map in found]).mean(0))
        for _, found in sorted(groups.items())
    )
