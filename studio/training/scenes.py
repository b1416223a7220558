"""Training examples: latents of drawn scenes with fresh captions, what counts more, and what lies where."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from studio.scenes.caption import caption
from studio.scenes.world import COLOURS, KINDS, PATTERNS, SIZES, Scene
from studio.training.recipe import PATCH_PIXELS, TEXT_TOKENS, make_tokenizer

# Shares of scenes with one to four objects: few objects first, they teach what the words mean.
STAGE_COUNTS = {64: (0.5, 0.3, 0.12, 0.08), 128: (0.38, 0.34, 0.16, 0.12), 256: (0.34, 0.30, 0.20, 0.16)}
# Nine tenths of a picture are background, learnt within minutes: tokens of objects count this much more.
OBJECT_WEIGHT = 5.0
MARKS = (tuple(KINDS), tuple(COLOURS), tuple(PATTERNS), tuple(SIZES))


class Scenes:
    """All shards of one picture size; new shards are taken in as the drawer writes them."""

    def __init__(self, folder: Path, size: int, seed: int) -> None:
        self.folder, self.size = folder, size
        self.rng = np.random.default_rng(seed)
        self.known: set[str] = set()
        self.latents: list[np.ndarray] = []
        self.scenes: list[Scene] = []
        self.words = make_tokenizer().get_vocab()
        self.counts = np.array([])
        self.refresh()

    def refresh(self) -> None:
        for path in sorted(self.folder.glob(f"latents-{self.size}-*.npz")):
            if path.name in self.known or ".tmp" in path.name:
                continue
            with np.load(path) as shard:
                self.latents.append(shard["data"])
                self.scenes += [Scene.from_dict(entry) for entry in json.loads(str(shard["scenes"]))]
            self.known.add(path.name)
        if self.latents:
            self.latents = [np.concatenate(self.latents)]
            self.counts = np.array([len(scene.objects) for scene in self.scenes])

    def ids(self, scene: Scene) -> list[int]:
        """Token ids of a fresh caption; one in ten is the empty prompt."""
        if self.rng.random() < 0.1:
            return [1, 3]
        text = caption(scene, self.rng, full=bool(self.rng.random() < 0.6))
        found = [self.words[word] for word in text.lower().replace(",", " , ").split()]
        return [1, *found[: TEXT_TOKENS - 2], 3]

    def emphasis(self, scene: Scene) -> np.ndarray:
        """Loss weight of each token, flat: OBJECT_WEIGHT where an object or its shadow lies, else 1."""
        side = self.size // PATCH_PIXELS
        weights = np.ones((side, side), np.float32)
        for item in scene.objects:
            reach = item.extent / 2 + 0.02
            x0, x1 = (int((item.cx + sign * reach) * side) for sign in (-1, 1))
            y0, y1 = (int((item.cy + sign * reach) * side) for sign in (-1, 1))
            weights[max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1] = OBJECT_WEIGHT
        return weights.ravel()

    def marks(self, scene: Scene) -> np.ndarray:
        """int64 [token, 4]: kind, colour, pattern and size of the object at each token, 0 where there is
        none, -1 (not asked) where a box only grazes the token."""
        side = self.size // PATCH_PIXELS
        marks = np.zeros((side, side, 4), np.int64)
        for item in scene.objects:
            x0, y0, x1, y1 = (float(edge) * side for edge in item.box)
            marks[max(int(y0), 0) : int(y1) + 1, max(int(x0), 0) : int(x1) + 1] = -1
        for item in scene.objects:
            x0, y0, x1, y1 = (float(edge) * side for edge in item.box)
            rows = slice(max(math.ceil(y0 - 0.5), 0), max(int(y1 - 0.5) + 1, 0))
            columns = slice(max(math.ceil(x0 - 0.5), 0), max(int(x1 - 0.5) + 1, 0))
            found = [
                table.index(value) + 1
                for table, value in zip(MARKS, (item.kind, item.colour, item.pattern, item.size), strict=True)
            ]
            marks[rows, columns] = found
            marks[min(int(item.cy * side), side - 1), min(int(item.cx * side), side - 1)] = found
        return marks.reshape(-1, 4)

    def batches(self, batch: int, lengths: tuple[int, ...]) -> Iterator[tuple[Tensor, ...]]:
        """(token ids, latents, loss weight by token, marks by token).

        Rows of like caption length lie together, so that little padding is computed: a batch is padded to the
        first of `lengths` that fits; the pipeline always pads to the last, 40.
        """
        while True:
            by_count = {k: np.flatnonzero(self.counts == k) for k in (1, 2, 3, 4)}
            of_count = self.rng.choice(4, size=batch * 16, p=STAGE_COUNTS[self.size]) + 1
            pool = [int(self.rng.choice(by_count[k])) for k in of_count]
            rows = sorted(
                ((self.ids(self.scenes[i]), i) for i in pool),
                key=lambda row: len(row[0]) + self.rng.random() * 4,
            )
            groups = [rows[k : k + batch] for k in range(0, len(rows) - batch + 1, batch)]
            for k in self.rng.permutation(len(groups)):
                group = groups[k]
                length = next(fits for fits in lengths if fits >= max(len(ids) for ids, _ in group))
                text = torch.zeros(batch, length, dtype=torch.long)
                for row, (ids, _) in enumerate(group):
                    text[row, : len(ids)] = torch.tensor(ids)
                picked = self.latents[0][[i for _, i in group]]
                weights = np.stack([self.emphasis(self.scenes[i]) for _, i in group])
                marks = np.stack([self.marks(self.scenes[i]) for _, i in group])
                yield (
                    text,
                    torch.from_numpy(picked.astype(np.float32)),
                    torch.from_numpy(weights),
                    torch.from_numpy(marks),
                )
            self.refresh()
