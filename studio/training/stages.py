"""Training in stages, small pictures first: the loss, one stage, and the command line that the recipes share.

Rectified flow with logit-normal times and a resolution-dependent shift (SD3, arXiv 2403.03206); progressive
resolution as in PixArt-Sigma (arXiv 2403.04692); captions are written anew each time a scene is seen; 10 %
empty prompts for CFG.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from studio.training.latent_space import load_space
from studio.training.recipe import MARK_CLASSES, patches, shifted
from studio.training.run import Run, fast_bfloat16, settle
from studio.training.scenes import Scenes

# Noise is moved up for more tokens: neighbours share so much that the same sigma hides less of the picture.
STAGE_SHIFT = {64: 1.5, 128: 1.5, 256: 3.0}
# Colour and layout lie in the first principal components; faint edges would drown them in the gradient. The
# loss of a channel is weighted by its variance in pixels to this power.
STAGE_EMPHASIS = {64: 0.4, 128: 0.1, 256: 0.1}
# The probe's cross entropies (kind, colour, pattern, size) are added with this weight. Telling the middle of
# the network what lies where binds words to places long before the picture shows it (after REPA, arXiv
# 2410.06940, with the drawn scene in the place of a vision model's features).
PROBE_WEIGHT = 0.1
# Most of a picture is background: so many tokens are computed, objects first and the rest drawn at random
# (after MaskDiT, arXiv 2306.09305); 0 = all. The end of a stage (FULL of its time) sees whole pictures.
STAGE_KEPT = {64: 0, 128: 0, 256: 112}
FULL = 0.15
# Both hold below this noise level only, the weight at all levels where another network gives the targets.
# Above it the picture does not yet show where things are, and a weight that knows it would tell the network
# that a thing is likelier at each of its possible places than it is: a prompt that leaves the place open is
# then drawn with the thing at several places at once (seen: 1 of 14 prompts with a relation in place of
# places all right).
CERTAIN = 0.7
# Lengths that a batch is padded to.
STAGE_TEXT = {64: (14, 18, 22, 28, 34, 40), 128: (16, 20, 28, 40), 256: (28, 40)}
# Small batches on a CPU: while the network still learns what words mean, steps count for more than quiet
# gradients. An accelerator is idle below some hundred rows.
STAGE_BATCH = {64: 48, 128: 24, 256: 12}
ACCELERATED_BATCH = {64: 1024, 128: 512, 256: 256}
# How often numbers are read back from an accelerator, and new shards looked for, in steps.
READ_EVERY = 25

# A teacher's tokens between its blocks are matched with this weight, each block's in units of its variance.
STATE_WEIGHT = 0.3


@dataclass(frozen=True)
class Lesson:
    """What a teacher says of a batch: the velocity to aim at [batch, token, channel], the guidance number by
    row, and its own image tokens after each block (none: they are not matched)."""

    target: Tensor
    guidance: Tensor
    states: list[Tensor] = field(default_factory=list)


# Called with average, ids, noisy, sigma, target, generator and the tokens kept.
Teach = Callable[[Any, Tensor, Tensor, Tensor, Tensor, torch.Generator, Tensor | None], Lesson]


@dataclass(frozen=True)
class Recipe:
    """What a model has of its own: its checkpoint, its network (`make`; see `recipe.Student`), how it takes
    the weights of an exported folder (`read`), who teaches its guided stages (`teacher(name, device,
    compiled)`)."""

    out: Path
    stages: str
    make: Callable[[], Any]
    read: Callable[[Any, Path], None]
    teacher: Callable[[str, str, bool], Teach] | None = None


@dataclass(frozen=True)
class Stage:
    """One stage: `name` is 256, or 256g where guidance is distilled."""

    name: str
    minutes: float

    @property
    def size(self) -> int:
        return int(self.name.removesuffix("g"))

    @property
    def guided(self) -> bool:
        return self.name.endswith("g")


def read_stages(text: str) -> tuple[Stage, ...]:
    """Stages out of 64:40,128:55,256g:10."""
    found = tuple(Stage(name, float(minutes)) for name, minutes in (p.split(":") for p in text.split(",")))
    for stage in found:
        if stage.size not in STAGE_SHIFT:
            raise SystemExit(f"no stage of {stage.size} pixels; possible: {', '.join(map(str, STAGE_SHIFT))}")
    return found


def probe_loss(student: Any, middle: Tensor, marks: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """(sum of the four cross entropies, weighted by `where`; whether the kind is right by token [batch,
    token])."""
    parts = student.probe(middle).float().split(MARK_CLASSES, -1)
    asked = where * (marks[..., 0] >= 0)
    total = torch.zeros((), device=middle.device)
    for part, wanted in zip(parts, marks.unbind(-1), strict=True):
        each = nn.functional.cross_entropy(part.transpose(1, 2), wanted, ignore_index=-1, reduction="none")
        total = total + (each * asked).sum() / asked.sum()
    return total, parts[0].argmax(-1) == marks[..., 0]


def state_loss(states: list[Tensor], wanted: list[Tensor], where: Tensor) -> Tensor:
    """Mean squared error of the tokens after each block in units of the teacher's variance, weighted by
    `where`."""
    total = torch.zeros((), device=where.device)
    for mine, theirs in zip(states, wanted, strict=len(wanted) > 0):
        error = (mine.float() - theirs.float()).square().mean(-1) / theirs.float().var()
        total = total + (error * where).sum() / where.sum() / len(wanted)
    return total


def choose(where: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` tokens a row [batch, count], ascending: those of objects first, then others at random."""
    rank = where + torch.rand(where.shape, generator=generator, device=where.device)
    return rank.topk(count, dim=1).indices.sort(1).values


def channel_weight(shards: Path, size: int) -> Tensor:
    """Loss weight of the numbers of a patch [2 * 2 * channel], mean 1."""
    variance = torch.from_numpy(load_space(shards / "latent_space.npz")["variance"]).float()
    weight = variance ** STAGE_EMPHASIS[size]
    return (weight / weight.mean()).repeat(4)  # patch order: row, column, channel


def rate_scale(progress: float, steps: int, warm: int, last: bool) -> float:
    """Up in `warm` steps, constant, then down: to four tenths where another stage follows, to almost nothing
    in the last one."""
    down = max(0.02, min(1.0, (1 - progress) / 0.4)) if last else max(0.4, min(1.0, (1 - progress) / 0.2))
    return min(1.0, (steps + 1) / warm) * down


def train_stage(
    run: Run,
    shards: Path,
    stage: Stage,
    *,
    batch: int,
    last: bool,
    teach: Teach | None = None,
    room: int = 0,
    whole: bool = False,
    compiled: bool = False,
    deadline: float = math.inf,
) -> None:
    """Train at one picture size until its minutes are spent in all (over restarts); with `teach`, on its
    targets. `whole`: compute all tokens from the start. `room`: how many scenes to hold at most.
    `compiled`: a network is, for each shape anew. `deadline`: the time.time() at which to save and stop,
    whatever is left."""
    size, minutes, device = stage.size, stage.minutes, run.device
    spent = run.state["stages"].setdefault(stage.name, 0.0)
    if spent >= minutes:
        return
    seed = run.state["step"] + 7919 * run.rank
    scenes = Scenes(shards, size, seed=17 + seed, device=device, room=room)
    if not len(scenes):
        raise SystemExit(f"no scenes of {size} pixels in {shards}; run studio.training.scene_store first")
    run.student.position(size // 16)
    run.average.position(size // 16)
    generator = torch.Generator(device).manual_seed(29 + seed)
    shift = STAGE_SHIFT[size]
    weight = channel_weight(shards, size).to(device)
    half = fast_bfloat16(device)
    # On a CPU the fused kernel's backward pass loses to plain matrix products: 1.25x below about 100 tokens
    # in fp32, 2.1x at 152 tokens in bf16 with AMX, if they stay in bf16. The teacher's forward pass wins.
    plain = device == "cpu" and (half or size < 256)
    attention = partial(sdpa_kernel, SDPBackend.MATH) if plain else nullcontext
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(plain and half)
    every = 1 if device == "cpu" else READ_EVERY
    began, saved, first = time.time(), time.time(), run.state["step"]
    said = {"stage": stage.name, "scenes": len(scenes), "batch": batch}
    print(json.dumps({**said, "minutes_left": round(minutes - spent, 2)}), flush=True)
    now_spent = spent
    losses: deque[Tensor] = deque(maxlen=100)
    hits: deque[tuple[Tensor, Tensor]] = deque(maxlen=100)
    # one length where each would be compiled anew
    lengths = (40,) if device != "cpu" or compiled else STAGE_TEXT[size]
    for ids, latent, where, marks in scenes.batches(batch, lengths):
        progress = now_spent / minutes
        scale = rate_scale(progress, run.state["step"] - first, 120 if first == 0 else 60, last)
        sigma = shifted(torch.sigmoid(torch.randn(batch, generator=generator, device=device)), shift)
        noise = torch.randn(latent.shape, generator=generator, device=device)
        target = patches(noise - latent)
        told = torch.where((sigma < CERTAIN)[:, None], where, 1.0)
        kept = None
        if STAGE_KEPT[size] and progress < 1 - FULL and not whole:
            kept = choose(told, STAGE_KEPT[size], generator)
            target = target.gather(1, kept[..., None].expand(-1, -1, target.shape[-1]))
            where, told = where.gather(1, kept), told.gather(1, kept)
            marks = marks.gather(1, kept[..., None].expand(-1, -1, 4))
        noisy = latent + sigma[:, None, None, None] * (noise - latent)
        given: dict[str, Tensor] = {}
        wanted: list[Tensor] = []
        if teach is not None:
            with torch.autocast(device, torch.bfloat16, enabled=half):
                lesson = teach(run.average, ids, noisy, sigma, target, generator, kept)
            target, given["guidance"], wanted = lesson.target, lesson.guidance, lesson.states
        # what another network says is no draw: a weight cannot make any of it likelier
        where = where if wanted else told
        with attention(), torch.autocast(device, torch.bfloat16, enabled=half):
            velocity, states = run.observed(*run.student.encode(ids), noisy, sigma, kept, **given)
            probe, right = probe_loss(run.student, states[run.student.probed], marks, told)
            likeness = state_loss(states, wanted, where)
        error = ((velocity.float() - target).square() * weight).mean(-1)
        loss = (error * where).sum() / where.sum()
        # the picture does not show it yet, the text says it
        blind = (marks[..., 0] > 0) & (sigma > 0.85)[:, None]
        hits.append(((right & blind).sum(), blind.sum()))
        losses.append(loss.detach())
        clock = spent + (time.time() - began) / 60
        now_spent = run.step(loss + PROBE_WEIGHT * probe + STATE_WEIGHT * likeness, scale, clock)
        run.state["samples"] += batch * run.world
        if run.state["step"] % every == 0:
            losses[-1].item()  # wait for the device, so that the clock does not run ahead of it
        over = progress >= 1 or time.time() > deadline
        if run.rank == 0 and (time.time() - saved > 45 or over):
            saved = time.time()
            run.state["stages"][stage.name] = now_spent
            run.save()
            seen = (run.state["step"] - first) * batch * run.world
            found = torch.tensor([[float(a), float(b)] for a, b in hits]).sum(0)
            row = {
                "size": stage.name,
                "step": run.state["step"],
                "samples": run.state["samples"],
                "scenes": len(scenes),
                "minutes": round(now_spent, 2),
                "loss": round(float(torch.stack(list(losses)).mean()), 4),
                **({"likeness": round(float(likeness.detach()), 4)} if wanted else {}),
                "blind_kind": round(float(found[0] / found[1]), 3) if found[1] else None,
                "per_second": round(seen / (time.time() - began), 1),
                "scale": round(scale, 3),
            }
            print(json.dumps(row), flush=True)
        if over:
            return


def work(rank: int, recipe: Recipe, arguments: argparse.Namespace, meeting: str) -> None:
    """One process of a recipe; several average their gradients after every batch."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    settle(arguments.device)
    if arguments.world > 1:
        meet = f"file://{meeting}"
        torch.distributed.init_process_group("gloo", meet, rank=rank, world_size=arguments.world)
    run = Run(
        recipe.make,
        recipe.read,
        arguments.out,
        arguments.device,
        arguments.optimiser,
        arguments.rate,
        rank,
        arguments.world,
        arguments.warm,
    )
    if arguments.compile == "all":
        run.observed = torch.compile(run.observed, dynamic=False)
    table = STAGE_BATCH if arguments.device == "cpu" else ACCELERATED_BATCH
    stages = read_stages(arguments.stages)
    teach = None
    if any(stage.guided for stage in stages):
        if recipe.teacher is None:
            raise SystemExit("this model takes no guidance number: it has no guided stages")
        teach = recipe.teacher(arguments.teacher, arguments.device, bool(arguments.compile))
    deadline = time.time() + arguments.seconds if arguments.seconds else math.inf
    for index, stage in enumerate(stages):
        if time.time() > deadline:
            return
        train_stage(
            run,
            arguments.shards,
            stage,
            batch=arguments.batch or table[stage.size],
            last=index == len(stages) - 1,
            teach=teach if stage.guided else None,
            room=arguments.room,
            whole=arguments.whole,
            compiled=bool(arguments.compile),
            deadline=deadline,
        )


def command(recipe: Recipe, description: str | None) -> None:
    """The command line of a recipe."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=Path, default=Path("checkpoints/shards"))
    parser.add_argument("--out", type=Path, default=recipe.out)
    parser.add_argument("--warm", type=Path, help="start from the weights of an exported model folder")
    parser.add_argument("--stages", default=recipe.stages, help="SIZE:MINUTES, in order; 256g = guided")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=0, help="0: by stage")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--optimiser", choices=("adamw", "muon"), default="adamw")
    parser.add_argument(
        "--compile",
        nargs="?",
        const="all" if recipe.teacher is None else "teacher",
        default="",
        choices=("all", "teacher"),
        help="torch.compile: 1.4x on a CPU, minutes to start. Without a word a network with a teacher is "
        "left as it is: compiled, the FLUX-shaped one ended in an illegal memory access on a GPU",
    )
    parser.add_argument("--whole", action="store_true", help="compute every token from the start")
    parser.add_argument("--room", type=int, default=0, help="scenes to hold at most, 0 = all that there are")
    parser.add_argument("--seconds", type=float, default=0, help="save and stop after so long, 0 = never")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--world", type=int, default=1, help="processes, one thread each, on a CPU")
    if recipe.teacher is not None:
        parser.add_argument(
            "--teacher", default="self", help="of guided stages: self, or a scenes-sd3 folder"
        )
    arguments = parser.parse_args()
    if arguments.world == 1:
        work(0, recipe, arguments, "")
        return
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(work, (recipe, arguments, f"{folder}/meeting"), nprocs=arguments.world)
