"""Train `assets/models/scenes-sd3-turbo`: a LoRA over scenes-sd3 that draws in one, two or four steps without
CFG.

    python -m studio.training.turbo --pairs 3000 --pair-minutes 60 --batch 16 --minutes 60
    python -m studio.training.turbo --device cuda --pairs 40000 --minutes 2

Reflow (Rectified Flow, arXiv 2209.03003, section 2.2; InstaFlow, arXiv 2309.06380): the teacher, scenes-sd3
with CFG, turns noise into pictures; the student learns the straight line from each noise to *its* picture.
Straight lines need few Euler steps, and the guided velocity is learnt with them, so no second pass is needed.

Half of the examples are points that the student itself reaches from the noise in one, two or four steps, from
where it learns to go to the same picture (backward distillation, Imagine Flash, arXiv 2405.05224, section
4.1): so a later step mends what an earlier one got wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections import deque
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from studio.training.judge import draw_prompts, load_autoencoder, table
from studio.training.low_rank import LowRank, add_low_rank, load_low_rank, save_low_rank
from studio.training.recipe import SHIFT, Student, levels, patches, read_exported, sample, shifted, unpatches
from studio.training.run import fast_bfloat16, settle
from studio.training.scenes import Scenes
from studio.training.stages import channel_weight

RANK = 28
TEACHER_STEPS = 24
CFG_SCALE = 3.0
# Numbers of steps that are practised, and how often each.
COUNTS = {1: 0.2, 2: 0.3, 4: 0.5}
# Share of batches on the student's own way, once it knows the straight one a little.
OWN, OWN_FROM = 0.5, 0.1
# Share of points on the straight line at the noise levels of COUNTS; the others lie anywhere on it.
ON_GRID = 0.6


@torch.no_grad()
def make_pairs(
    teacher: Student,
    ids: Tensor,
    *,
    batch: int,
    seed: int,
    seconds: float,
    steps: int = TEACHER_STEPS,
    keep: Path | None = None,
) -> tuple[Tensor, Tensor]:
    """(noise, latent) float16 [n, 16, 32, 32] of the prompts ids [n, token], as many as the time allows;
    pictures lie in the folder `keep`, from where they are taken when asked for again."""
    device = str(ids.device)
    noises, latents = [], []
    half = fast_bfloat16(device)
    began = time.time()
    for start in range(0, len(ids) - batch + 1, batch):
        if time.time() - began > seconds:
            break
        noise = torch.randn(batch, 16, 32, 32, generator=torch.Generator("cpu").manual_seed(seed + start)).to(
            device
        )
        rows = ids[start : start + batch]
        asked = hashlib.sha256(noise.cpu().numpy().tobytes() + rows.cpu().numpy().tobytes()).hexdigest()[:16]
        path = keep / f"{asked}.safetensors" if keep else None
        if path and path.exists():
            made = load_file(path)["latent"].to(device)
        else:
            with torch.autocast(device, torch.bfloat16, enabled=half):
                made = sample(teacher, rows, 32, steps=steps, cfg_scale=CFG_SCALE, noise=noise).half()
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
                save_file({"latent": made.cpu()}, path.with_suffix(".tmp"))
                path.with_suffix(".tmp").rename(path)
        noises.append(noise.half())
        latents.append(made)
    return torch.cat(noises), torch.cat(latents)


def prompts_of(scenes: Scenes, count: int, seed: int) -> Tensor:
    """Token ids [count, token] of captions of drawn scenes; never the empty one, never held out."""
    generator = torch.Generator().manual_seed(seed)
    captions = scenes.held["captions"][: len(scenes)]
    drawn = torch.rand(count, 2, generator=generator).to(captions.device)  # the first n are the same of more
    rows, which = (drawn * torch.tensor(captions.shape[:2], device=captions.device)).long().unbind(1)
    return captions[rows, which].long()


def line_levels(batch: int, generator: torch.Generator, device: str) -> Tensor:
    """Noise levels [batch] of points on the straight line."""
    sigma = shifted(torch.rand(batch, generator=generator, device=device), SHIFT)
    weighed = [(level, share / count) for count, share in COUNTS.items() for level in levels(count)]
    grid, share = (torch.tensor(column, device=device) for column in zip(*weighed, strict=True))
    chosen = grid[torch.multinomial(share, batch, replacement=True, generator=generator)]
    on_grid = torch.rand(batch, generator=generator, device=device) < ON_GRID
    return torch.where(on_grid, chosen, sigma.clamp(min=1e-3))


@torch.no_grad()
def own_points(
    student: Student, context: Tensor, pooled: Tensor, noise: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """(latent, noise levels [batch]) where the student is after some of one, two or four steps from `noise`;
    one number of steps for the whole batch."""
    device = str(noise.device)

    def drawn(shares: Tensor) -> int:
        return int(torch.multinomial(shares, 1, generator=generator))

    count = list(COUNTS)[drawn(torch.tensor(list(COUNTS.values()), device=device))]
    found, ahead = noise, levels(count)
    for now, following in pairwise(ahead[: drawn(torch.ones(count, device=device)) + 1]):
        v = student.velocity(context, pooled, found, torch.full((len(found),), now, device=device))
        found = found + (following - now) * unpatches(v.float(), found.shape[-1])
        ahead = ahead[1:]
    return found, torch.full((len(found),), ahead[0], device=device)


def train(
    student: Student,
    layers: dict[str, LowRank],
    ids: Tensor,
    noise: Tensor,
    latent: Tensor,
    *,
    weight: Tensor,
    minutes: float,
    batch: int,
    rate: float,
) -> int:
    """Fit the additions to the straight lines, and from the student's own points to the same pictures; their
    moving average is left in `layers`. Number of steps."""
    device = str(ids.device)
    learnt = [p for layer in layers.values() for p in (layer.down.weight, layer.up.weight)]
    average = [p.detach().clone() for p in learnt]
    optimiser = torch.optim.AdamW(learnt, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
    generator = torch.Generator(device).manual_seed(3)
    half = fast_bfloat16(device)
    began = reported = time.time()
    step, losses = 0, deque[Tensor](maxlen=100)
    choices = torch.Generator().manual_seed(5)
    while (done := (time.time() - began) / (60 * minutes)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 100) * max(0.02, min(1.0, (1 - done) / 0.5))
        rows = torch.randint(len(ids), (batch,), generator=generator, device=device)
        start, end = noise[rows].float(), latent[rows].float()
        own = done > OWN_FROM and float(torch.rand((), generator=choices)) < OWN
        with torch.autocast(device, torch.bfloat16, enabled=half):
            with torch.no_grad():
                context, pooled = student.encode(ids[rows])
            if own:
                noisy, sigma = own_points(student, context, pooled, start, generator)
            else:
                sigma = line_levels(batch, generator, device)
                noisy = end + sigma[:, None, None, None] * (start - end)
            velocity, _ = student.observed(context, pooled, noisy, sigma)
        target = (noisy - end) / sigma[:, None, None, None]
        loss = ((velocity.float() - patches(target)).square() * weight).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimiser.step()
        step += 1
        torch._foreach_lerp_(average, [p.detach() for p in learnt], 1 - min(0.998, (1 + step) / (20 + step)))
        losses.append(loss.detach())
        if step % 25 == 0:
            losses[-1].item()  # wait for the device
        if time.time() - reported > 20:
            reported = time.time()
            mean = float(torch.stack(list(losses)).mean())
            print(
                json.dumps({"turbo_step": step, "loss": round(mean, 4), "done": round(done, 2)}), flush=True
            )
    with torch.no_grad():
        for parameter, averaged in zip(learnt, average, strict=True):
            parameter.copy_(averaged)
    return step


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", type=Path, default=Path("assets/models/scenes-sd3"))
    parser.add_argument("--shards", type=Path, default=Path("checkpoints/shards"))
    parser.add_argument("--autoencoder", type=Path, default=Path("checkpoints/autoencoder.pt"))
    parser.add_argument(
        "--out", type=Path, default=Path("checkpoints/turbo/pytorch_lora_weights.safetensors")
    )
    parser.add_argument("--pairs", type=int, default=40_000, help="pairs of noise and picture")
    parser.add_argument("--pair-minutes", type=float, default=1.5, help="stop making pairs after this long")
    parser.add_argument("--teacher-steps", type=int, default=TEACHER_STEPS)
    parser.add_argument("--keep", type=Path, default=Path("checkpoints/pairs"), help="where pairs are kept")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--cases", type=int, default=128, help="held-out prompts for the table at the end")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="the teacher; the student takes longer")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    device = arguments.device
    settle(device)
    teacher = Student().eval().requires_grad_(False)
    read_exported(teacher, arguments.teacher)
    student = deepcopy(teacher).to(device)
    teacher = teacher.to(device)
    layers = add_low_rank(student.transformer, RANK)
    student.to(device)
    if arguments.out.exists():
        load_low_rank(layers, arguments.out)
    teacher.position(16), student.position(16)
    scenes = Scenes(arguments.shards, 256, seed=1, device="cpu", room=16384)
    ids = prompts_of(scenes, arguments.pairs, seed=2).to(device)
    began = time.time()
    if arguments.compile:
        teacher.velocity = torch.compile(teacher.velocity, dynamic=False)  # type: ignore[method-assign]
    weights = arguments.teacher / "transformer" / "diffusion_pytorch_model.safetensors"
    name = f"{hashlib.sha256(weights.read_bytes()).hexdigest()[:12]}-{arguments.teacher_steps}"
    noise, latent = make_pairs(
        teacher,
        ids,
        batch=arguments.batch,
        seed=4,
        seconds=arguments.pair_minutes * 60,
        steps=arguments.teacher_steps,
        keep=arguments.keep / name,
    )
    print(json.dumps({"pairs": len(noise), "seconds": round(time.time() - began, 1)}), flush=True)
    steps = train(
        student,
        layers,
        ids[: len(noise)],
        noise,
        latent,
        weight=channel_weight(arguments.shards, 256).to(device),
        minutes=arguments.minutes,
        batch=arguments.batch,
        rate=arguments.rate,
    )
    note = {"rank": str(RANK), "pairs": str(len(noise)), "steps": str(steps), "base": "scenes-sd3"}
    save_low_rank(layers, arguments.out, note)
    report(student, arguments)


def report(student: Student, arguments: argparse.Namespace) -> None:
    """The share of held-out prompts drawn all right in one, two and four steps without CFG."""
    from studio.scenes.caption import held_out_prompts

    if not arguments.cases:
        return
    autoencoder = load_autoencoder(arguments.shards, arguments.autoencoder).to(arguments.device)
    cases = held_out_prompts(arguments.cases, seed=1)
    for count in (1, 2, 4):
        pictures = draw_prompts(
            student,
            autoencoder,
            [case[0] for case in cases],
            256,
            steps=count,
            cfg_scale=1.0,
            shift=SHIFT,
            device=arguments.device,
        )
        found = table(pictures, cases, arguments.processes)
        row = {"steps": count, **{name: part.get("all_right") for name, part in found.items()}}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
