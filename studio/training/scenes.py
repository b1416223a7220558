"""Training examples: the shards of one picture size, held on the device that trains."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

# Shares of scenes with one to four objects: few objects first, they teach what the words mean.
STAGE_COUNTS = {64: (0.5, 0.3, 0.12, 0.08), 128: (0.38, 0.34, 0.16, 0.12), 256: (0.24, 0.28, 0.24, 0.24)}
EMPTY_SHARE = 0.1
FIELDS = ("data", "captions", "emphasis", "marks")


class Scenes:
    """All shards of one picture size; new shards are taken in as the drawers write them."""

    def __init__(self, folder: Path, size: int, seed: int, device: str = "cpu", room: int = 0) -> None:
        self.folder, self.size, self.device, self.room = folder, size, device, room
        self.rng = np.random.default_rng(seed)
        self.known: set[str] = set()
        self.held: dict[str, Tensor] = {}
        self.counts = np.zeros(0, np.uint8)
        self.lengths = np.zeros((0, 1), np.int64)
        self.refresh()

    def __len__(self) -> int:
        return len(self.counts)

    def refresh(self, most: int = 1 << 30) -> None:
        """Take in at most so many new shards, until `room` scenes are held (0 = no limit)."""
        for path in sorted(self.folder.glob(f"latents-{self.size}-*.npz")):
            if most <= 0 or (self.room and len(self) >= self.room):
                break
            if path.name in self.known or ".tmp" in path.name:
                continue
            self.known.add(path.name)
            with np.load(path) as shard:
                if "captions" in shard.files:  # shards of an earlier recipe lack them
                    self._take(shard)
                    most -= 1
        self.by_count = [np.flatnonzero(self.counts == k) for k in (1, 2, 3, 4)]

    def _take(self, shard: np.lib.npyio.NpzFile) -> None:
        start = len(self)
        self.counts = np.concatenate([self.counts, shard["counts"]])
        captions = shard["captions"]
        lengths = (captions != 0).sum(-1)
        self.lengths = np.concatenate([self.lengths, lengths]) if start else lengths
        for name in FIELDS:
            new = torch.from_numpy(shard[name])
            old = self.held.get(name)
            if old is None or len(old) < len(self):
                rows = max(len(self), self.room, 2 * start)
                grown = torch.empty((rows, *new.shape[1:]), dtype=new.dtype, device=self.device)
                if old is not None:
                    grown[:start] = old[:start]
                self.held[name] = grown
            self.held[name][start : len(self)].copy_(new)

    def _pool(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(scene, caption) of `count` examples; caption -1 is the empty prompt."""
        shares = np.array(STAGE_COUNTS[self.size]) * [len(found) > 0 for found in self.by_count]
        of_count = self.rng.choice(4, size=count, p=shares / shares.sum())
        scene = np.zeros(count, np.int64)
        for k, found in enumerate(self.by_count):
            rows = of_count == k
            if rows.any():
                scene[rows] = found[self.rng.integers(len(found), size=int(rows.sum()))]
        which = self.rng.integers(self.lengths.shape[1], size=count)
        which[self.rng.random(count) < EMPTY_SHARE] = -1
        return scene, which

    def batches(self, batch: int, lengths: tuple[int, ...]) -> Iterator[tuple[Tensor, ...]]:
        """(token ids [batch, token], latents float32, loss weight by token float32, marks by token int64).

        Rows of like caption length lie together, so that little padding is computed: a batch is padded to the
        first of `lengths` that fits; the pipeline always pads to the last, 40.
        """
        while True:
            scene, which = self._pool(batch * 16)
            long = np.where(which < 0, 2, self.lengths[scene, which])
            if len(lengths) > 1:
                order = np.argsort(long + self.rng.random(len(long)) * 4)
                scene, which, long = scene[order], which[order], long[order]
            for k in self.rng.permutation(16):
                rows = slice(k * batch, (k + 1) * batch)
                fits = next(length for length in lengths if length >= long[rows].max())
                yield self._batch(scene[rows], which[rows], fits)
            self.refresh(most=4)

    def _batch(self, scene: np.ndarray, which: np.ndarray, length: int) -> tuple[Tensor, ...]:
        index = torch.from_numpy(scene).to(self.device)
        chosen = torch.from_numpy(which).to(self.device)
        ids = self.held["captions"][index, chosen.clamp(min=0), :length].long()
        empty = torch.zeros_like(ids[:1])
        empty[:, 0], empty[:, 1] = 1, 3
        ids = torch.where((chosen < 0)[:, None], empty, ids)
        return (
            ids,
            self.held["data"][index].float(),
            self.held["emphasis"][index].float(),
            self.held["marks"][index].long(),
        )
