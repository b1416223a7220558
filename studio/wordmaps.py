"""What a run has seen of its words, as plain numbers for a page: a map for each word, by block and by step.

The maps come out of the cache, where the run left them; nothing is computed again.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

from studio.errors import StudioError
from studio.graph.document import Graph
from studio.graph.inline import inline
from studio.pixels import encode
from studio.values import Image

if TYPE_CHECKING:
    from studio.studio import Studio
    from studio.values import Seen, SeenMap

MOST_WORDS = 16


def maps_of_run(studio: Studio, document: Graph, owner: str, sampler: str | None = None) -> dict[str, Any]:
    """What a sampler saw (None = the first of the document): `labels`, `rows`, `columns` and the maps
    ("mean", "blocks", "steps"), each a list of (label, note, one byte per place for each word, as base64).
    Raises StudioError if the run's maps are not kept any more."""
    from studio.controls.reading import by_block, by_step, maps_of, mean_map
    from studio.controls.word_maps import OTHER, REST, over_words

    seen = _seen(studio, document, owner, sampler)
    maps = maps_of(seen, "word_maps", "'Watch words'")
    words = [label for label in maps[0].labels if label not in (OTHER, REST)][:MOST_WORDS]

    def told(values: Any) -> list[str]:
        shares = over_words(values)[..., : len(words)]
        return [_bytes(shares[..., column]) for column in range(len(words))]

    mean = mean_map(_clear(seen), 0)
    kinds = {"mean": [("", "", mean)], "blocks": by_block(maps, 0), "steps": by_step(maps, 0)}
    rows, columns = mean.shape[:2]
    return {
        "labels": words,
        "rows": int(rows),
        "columns": int(columns),
        **{kind: [(label, note, told(values)) for label, note, values in of] for kind, of in kinds.items()},
    }


def maps_of_regions(studio: Studio, document: Graph, owner: str, sampler: str) -> dict[str, Any]:
    """What the words of a prompt and of its regions did in a run that watched them: `rows`, `columns`, and
    `words`, each with its `region` (its place in the list from 0, None = the prompt of the whole picture),
    its `word` (empty = the region as a whole) and its `map`, one byte per place as base64. Raises StudioError
    if the run's maps are not kept any more."""
    from studio.controls.reading import maps_of, mean_map
    from studio.controls.word_maps import OTHER, REST, over_words

    seen = _seen(studio, document, owner, sampler)
    names = {map.name for map in seen.maps}
    found: list[dict[str, Any]] = []
    if "word_maps" in names:
        maps = maps_of(seen, "word_maps", "'Watch words'")
        words = [label for label in maps[0].labels if label not in (OTHER, REST)][:MOST_WORDS]
        shares = over_words(mean_map(maps))
        for i, word in enumerate(words):
            found.append({"region": None, "word": word, "map": _bytes(shares[..., i])})
    if "region_maps" in names:
        maps = maps_of(seen, "region_maps", "'Watch regions'")
        masses = mean_map(maps)
        for i, label in enumerate(maps[0].labels):
            place, colon, word = re.match(r"(\d+)(:?) (.*)", label).groups()  # type: ignore[union-attr]
            of = {"region": int(place) - 1, "word": word if colon else ""}
            found.append({**of, "map": _bytes(masses[..., i])})
    rows, columns = seen.maps[0].values.shape[1:3]
    return {"rows": int(rows), "columns": int(columns), "words": found}


def _bytes(values: Any) -> str:
    """A map from its least to its most, one byte per place, as base64."""
    one = values.float().cpu()
    low, high = float(one.min()), float(one.max())
    scaled = ((one - low) / ((high - low) or 1.0) * 255).round().clamp(0, 255).byte()
    return base64.b64encode(scaled.numpy().tobytes()).decode()


def mask_of_word(
    studio: Studio,
    document: Graph,
    owner: str,
    word: str,
    size: tuple[int, int],
    at: tuple[float, float] | None = None,
    *,
    amount: float = 0.5,
    grow: int = 0,
    follow: Image | None = None,
    sampler: str | None = None,
) -> bytes:
    """The mask of a word of a run as a PNG, white where the word's thing is. Raises StudioError.

    size: width, height in pixels; `at`: x, y in 0..1, for the piece nearest to it in place of the largest;
    `amount`, `grow`, `follow`: as in `word_mask`.
    """
    import numpy as np

    from studio.controls.heat_maps import word_mask

    seen = _seen(studio, document, owner, sampler)
    pick = "largest" if at is None else "point"
    given = {"word": word, "pick": pick, "at": at or (0.5, 0.5), "amount": amount, "grow": grow}
    mask, _ = word_mask(seen, *size, **given, follow=follow)  # type: ignore[arg-type]
    grey = (np.asarray(mask.values) * 255).round().astype(np.uint8)
    return encode(Image(np.repeat(grey[..., None], 3, axis=-1)))


def _clear(seen: Seen) -> tuple[SeenMap, ...]:
    """The maps of the blocks behind the middle, from 55 to 80 % of the depth, where things stand apart best.

    Where a word acts differs much from block to block, and the mean over all of them is mud.
    """
    from studio.controls.reading import maps_of

    maps = maps_of(seen, "word_maps", "'Watch words'")
    every = sorted({map.index for map in maps if map.step >= 0 and map.index >= 0})
    chosen = {index for place, index in enumerate(every) if 0.55 <= place / len(every) <= 0.8}
    return tuple(map for map in maps if map.step >= 0 and map.index in chosen) or maps


def _seen(studio: Studio, document: Graph, owner: str, sampler: str | None = None) -> Seen:
    """What a sampler of a document (None = its first) saw, as the cache keeps it."""
    if sampler is None:
        flat = inline(document, studio.registry).graph
        sampler = next((n.id for n in flat.nodes if n.kind == "sample"), None)
    if sampler is not None:
        key = studio.plan(document, [sampler], owner=owner)[sampler].key
        entry = studio.engine.cache.entry(key)
        digest = dict(entry.outputs).get("seen") if entry is not None else None
        found: Any = studio.engine.cache.value(digest) if digest is not None else None
        if getattr(found, "maps", ()):
            return found  # type: ignore[no-any-return]
    raise StudioError("The maps of this picture are no longer kept.", hint="Press Look to paint it again.")
