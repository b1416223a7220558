"""Train `assets/models/scenes-sd3`: an SD3-shaped rectified-flow transformer on drawn scenes, small pictures
first.

    python -m studio.training.scenes_sd3 --stages 64:40,128:55,256:40        minutes per stage; resumes
    python -m studio.training.scenes_sd3 --device cuda --stages 128:3,256:6 --batch 1024

Rectified flow with logit-normal times and a resolution-dependent shift (SD3, arXiv 2403.03206); progressive
resolution as in PixArt-Sigma (arXiv 2403.04692); captions are written anew each time a scene is seen; 10 %
empty prompts for CFG.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from studio.scenes.caption import caption
from studio.scenes.world import COLOURS, KINDS, PATTERNS, SIZES, Scene
from studio.training.latent_space import load_space
from studio.training.recipe import (
    MARK_CLASSES,
    PATCH_PIXELS,
    TEXT_TOKENS,
    Student,
    make_tokenizer,
    patches,
    read_exported,
    shifted,
)

# Noise is moved up for more tokens: neighbours share so much that the same sigma hides less of the picture.
STAGE_SHIFT = {64: 1.5, 128: 1.5, 256: 2.5}
# Shares of scenes with one to four objects: few objects first, they teach what the words mean.
STAGE_COUNTS = {64: (0.5, 0.3, 0.12, 0.08), 128: (0.38, 0.34, 0.16, 0.12), 256: (0.34, 0.30, 0.20, 0.16)}
# Colour and layout lie in the first principal components; faint edges would drown them in the gradient. The
# loss of a channel is weighted by its variance in pixels to this power.
# Nine tenths of a picture are background, learnt within minutes: tokens of objects count this much more.
OBJECT_WEIGHT = 5.0
STAGE_EMPHASIS = {64: 0.4, 128: 0.1, 256: 0.1}
# The probe's cross entropies (kind, colour, pattern, size) are added with this weight. Telling the middle of the
# network what lies where binds words to places long before the picture shows it (after REPA, arXiv 2410.06940,
# with the drawn scene in the place of a vision model's features).
PROBE_WEIGHT = 0.1
MARKS = (tuple(KINDS), tuple(COLOURS), tuple(PATTERNS), tuple(SIZES))
# Lengths that a batch is padded to.
STAGE_TEXT = {64: (14, 18, 22, 28, 34, 40), 128: (16, 20, 28, 40), 256: (28, 40)}
# Small batches on a CPU: while the network still learns what words mean, steps count for more than quiet
# gradients.
STAGE_BATCH = {64: 48, 128: 24, 256: 10}


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


def muon_split(student: Student) -> tuple[list[Tensor], list[Tensor]]:
    """(hidden matrices of the joint blocks, everything else): Muon orthogonalises only the first."""
    hidden: list[Tensor] = []
    rest: list[Tensor] = []
    for name, parameter in student.named_parameters():
        matrix = parameter.ndim == 2 and "transformer_blocks" in name and "norm" not in name
        (hidden if matrix else rest).append(parameter)
    return hidden, rest


def optimisers_of(student: Student, kind: str, rate: float) -> list[torch.optim.Optimizer]:
    adam: dict[str, Any] = {"betas": (0.9, 0.97), "weight_decay": 0.01, "lr": rate}
    if kind == "adamw":
        return [torch.optim.AdamW(student.parameters(), **adam)]
    hidden, rest = muon_split(student)
    muon = torch.optim.Muon(hidden, lr=rate * 2, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    return [muon, torch.optim.AdamW(rest, **adam)]


class Run:
    """Everything that a checkpoint holds: weights, their moving average, optimiser states, where we are."""

    def __init__(
        self,
        out: Path,
        device: str,
        kind: str,
        rate: float,
        rank: int = 0,
        world: int = 1,
        warm: Path | None = None,
    ) -> None:
        torch.manual_seed(0)
        self.out, self.rank, self.world = out, rank, world
        self.student = Student().to(device)
        self.average = Student().to(device).requires_grad_(False)
        self.average.load_state_dict(self.student.state_dict())
        self.optimisers = optimisers_of(self.student, kind, rate)
        self.rate, self.kind = rate, kind
        self.state: dict[str, Any] = {"step": 0, "samples": 0, "stages": {}}
        if out.exists():
            saved = torch.load(out, weights_only=True, map_location=device)
            self.student.load_state_dict(saved["student"])
            self.average.load_state_dict(saved["average"])
            if saved["kind"] == kind and saved.get("optimisers"):
                for optimiser, stored in zip(self.optimisers, saved["optimisers"], strict=True):
                    optimiser.load_state_dict(stored)
            self.state = saved["state"]
        elif warm:
            read_exported(self.student, warm)
            self.average.load_state_dict(self.student.state_dict())
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["peak"] = rate * (2 if isinstance(optimiser, torch.optim.Muon) else 1)

    def save(self) -> None:
        saved = {
            "student": self.student.state_dict(),
            "average": self.average.state_dict(),
            "kind": self.kind,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "state": self.state,
        }
        torch.save(saved, self.out.with_suffix(".tmp"))
        os.replace(self.out.with_suffix(".tmp"), self.out)

    def step(self, loss: Tensor, scale: float, clock: float) -> float:
        """One update; returns the first process's `clock`, so that all processes stop at the same step."""
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * scale
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        clock = self._share(clock)
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        self.state["step"] += 1
        decay = min(0.996, (1 + self.state["step"]) / (20 + self.state["step"]))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.student.parameters()), 1 - decay)
        return clock

    def _share(self, clock: float) -> float:
        """Average the gradients over the processes, in one message together with the first one's clock."""
        if self.world == 1:
            return clock
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.student.parameters()]
        flat = torch.cat([g.flatten() for g in gradients] + [torch.tensor([clock * (self.rank == 0)])])
        torch.distributed.all_reduce(flat)
        start = 0
        for parameter, gradient in zip(self.student.parameters(), gradients, strict=True):
            part = flat[start : start + gradient.numel()].view_as(gradient)
            parameter.grad = part / self.world
            start += gradient.numel()
        return float(flat[-1])


def fast_bfloat16(device: str) -> bool:
    """Whether bf16 products beat fp32 here: with AVX-512 bf16 or AMX they do, without they are 50 times slower."""
    if device != "cpu":
        return True
    took = {}
    for kind in (torch.float32, torch.bfloat16):
        left, right = torch.ones(1024, 192, dtype=kind), torch.ones(192, 768, dtype=kind)
        left @ right
        began = time.perf_counter()
        left @ right
        took[kind] = time.perf_counter() - began
    return took[torch.bfloat16] < took[torch.float32]


def probe_loss(student: Student, middle: Tensor, marks: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """(sum of the four cross entropies, weighted by `where`; whether the kind is right by token [batch, token])."""
    parts = student.probe(middle).float().split(MARK_CLASSES, -1)
    asked = where * (marks[..., 0] >= 0)
    total = torch.zeros((), device=middle.device)
    for part, wanted in zip(parts, marks.unbind(-1), strict=True):
        each = nn.functional.cross_entropy(part.transpose(1, 2), wanted, ignore_index=-1, reduction="none")
        total = total + (each * asked).sum() / asked.sum()
    return total, parts[0].argmax(-1) == marks[..., 0]


def train_stage(
    run: Run, shards: Path, size: int, minutes: float, *, device: str, batch: int, last: bool
) -> None:
    """Train at one picture size until `minutes` of this stage are spent in all (over restarts)."""
    spent = run.state["stages"].setdefault(str(size), 0.0)
    if spent >= minutes:
        return
    scenes = Scenes(shards, size, seed=17 + run.state["step"] + 7919 * run.rank)
    run.student.position(size // 16)
    generator = torch.Generator().manual_seed(29 + run.state["step"] + 7919 * run.rank)
    shift = STAGE_SHIFT[size]
    weight = (
        torch.from_numpy(load_space(shards / "latent_space.npz")["variance"]).float() ** STAGE_EMPHASIS[size]
    )
    weight = (weight / weight.mean()).repeat(4).to(device)  # patch order: row, column, channel
    # On a CPU the fused kernel's backward pass loses to plain matrix products below about 100 tokens
    # (measured 1.25x).
    attention = partial(sdpa_kernel, SDPBackend.MATH) if device == "cpu" and size < 256 else nullcontext
    began, saved, losses, seen, first = time.time(), time.time(), [], 0, run.state["step"]
    print(
        json.dumps(
            {
                "stage": size,
                "scenes": len(scenes.scenes),
                "batch": batch,
                "minutes_left": round(minutes - spent, 1),
            }
        ),
        flush=True,
    )
    now_spent = spent
    half = fast_bfloat16(device)
    hits: list[float] = []
    for ids, latent, where, marks in scenes.batches(batch, STAGE_TEXT[size]):
        progress = now_spent / minutes
        warm = min(1.0, (run.state["step"] - first + 1) / (120 if first == 0 else 60))
        # Constant, then down: to a tenth where another stage follows, to almost nothing in the last one.
        scale = warm * (
            max(0.02, min(1.0, (1 - progress) / 0.4)) if last else max(0.4, min(1.0, (1 - progress) / 0.2))
        )
        sigma = shifted(torch.sigmoid(torch.randn(batch, generator=generator)), shift)
        noise = torch.randn(latent.shape, generator=generator)
        noisy = latent + sigma[:, None, None, None] * (noise - latent)
        ids, noisy, sigma, target = (t.to(device) for t in (ids, noisy, sigma, patches(noise - latent)))
        with attention(), torch.autocast(device, torch.bfloat16, enabled=half):
            velocity, middle = run.student.observed(*run.student.encode(ids), noisy, sigma)
            marks = marks.to(device)
            where = where.to(device)
            probe, right = probe_loss(run.student, middle, marks, where)
        error = ((velocity.float() - target).square() * weight).mean(-1)
        loss = (error * where).sum() / where.sum()
        blind = (marks[..., 0] > 0) & (sigma > 0.85)[
            :, None
        ]  # the picture does not show it yet, the text says it
        if blind.any():
            hits.append(float(right[blind].float().mean()))
        now_spent = run.step(loss + PROBE_WEIGHT * probe, scale, spent + (time.time() - began) / 60)
        losses.append(float(loss.detach()))
        seen += batch * run.world
        run.state["samples"] += batch * run.world
        if run.rank == 0 and (time.time() - saved > 60 or progress >= 1):
            print(
                json.dumps(
                    {
                        "size": size,
                        "step": run.state["step"],
                        "samples": run.state["samples"],
                        "minutes": round(now_spent, 1),
                        "loss": round(float(np.mean(losses[-100:])), 4),
                        "blind_kind": round(float(np.mean(hits[-100:])), 3),
                        "per_second": round(seen / (time.time() - began), 1),
                        "scale": round(scale, 3),
                    }
                ),
                flush=True,
            )
            run.state["stages"][str(size)] = now_spent
            run.save()
            saved = time.time()
        if progress >= 1:
            return


def work(rank: int, arguments: argparse.Namespace, meeting: str) -> None:
    """One process of a recipe; several average their gradients after every batch."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.world > 1:
        meet = f"file://{meeting}"
        torch.distributed.init_process_group("gloo", meet, rank=rank, world_size=arguments.world)
    run = Run(
        arguments.out,
        arguments.device,
        arguments.optimiser,
        arguments.rate,
        rank,
        arguments.world,
        arguments.warm,
    )
    if arguments.compile:
        run.student.observed = torch.compile(run.student.observed, dynamic=False)  # type: ignore[method-assign]
    stages = [
        (int(size), float(minutes))
        for size, minutes in (part.split(":") for part in arguments.stages.split(","))
    ]
    for index, (size, minutes) in enumerate(stages):
        train_stage(
            run,
            arguments.shards,
            size,
            minutes,
            device=arguments.device,
            batch=arguments.batch or STAGE_BATCH[size],
            last=index == len(stages) - 1,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=Path, default=Path("checkpoints/shards"))
    parser.add_argument("--out", type=Path, default=Path("checkpoints/scenes_sd3.pt"))
    parser.add_argument("--warm", type=Path, help="start from the weights of an exported model folder")
    parser.add_argument("--stages", default="64:40,128:55,256:40", help="SIZE:MINUTES, in order")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=0, help="0: by stage")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--optimiser", choices=("adamw", "muon"), default="adamw")
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile: 1.4x on a CPU, minutes to start"
    )
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--world", type=int, default=1, help="processes, one thread each, on a CPU")
    arguments = parser.parse_args()
    if arguments.world == 1:
        work(0, arguments, "")
        return
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(work, (arguments, f"{folder}/meeting"), nprocs=arguments.world)


if __name__ == "__main__":
    main()
