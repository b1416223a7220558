"""Start scenes-flux from scenes-sd3: take over its blocks and fit the text encoders to what its blocks know.

    python -m studio.training.start_flux --teacher assets/models/scenes-sd3 --minutes 8
    python -m studio.training.start_flux --device cuda --shards checkpoints/shards --batch 1024 --minutes 0.5

Captions alone are needed: the T5 learns to give the joint blocks the tokens that the teacher's two CLIPs give
them, the CLIP to give the modulation its vector. Writes a checkpoint that `scenes_flux` goes on from.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import deque
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from studio.training.labels import captions_of
from studio.training.recipe import TEXT_TOKENS, Student, read_exported
from studio.training.recipe_flux import FluxStudent, read_flux
from studio.training.run import Run
from studio.training.scene_store import scenes_of
from studio.training.scenes import Scenes

# Stored scenes whose captions are taken at most.
ROOM = 32768


def caption_ids(rng: np.random.Generator, count: int) -> Tensor:
    """Token ids int64 [count, token] of fresh captions, every sixteenth the empty prompt."""
    seed = int(rng.integers(2**31))
    rows = np.concatenate([captions_of(scene, rng, 8) for scene in scenes_of(seed, count // 8)])
    ids = torch.from_numpy(rows.astype(np.int64))
    ids[::16] = 0
    ids[::16, 0], ids[::16, 1] = 1, 3
    return ids


def stored_captions(scenes: Scenes, generator: torch.Generator, count: int) -> Tensor:
    """As `caption_ids`, but of the captions that shards hold."""
    held, device = scenes.held["captions"], generator.device
    rows = torch.randint(len(scenes), (count,), generator=generator, device=device)
    which = torch.randint(held.shape[1], (count,), generator=generator, device=device)
    ids = held[rows, which].long()
    ids[::16] = 0
    ids[::16, 0], ids[::16, 1] = 1, 3
    return ids


def text_errors(student: FluxStudent, teacher: Student, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared errors of the tokens and of the vector, in units of the teacher's variance."""
    with torch.no_grad():
        context, pooled = teacher.encode(ids)
        tokens = teacher.transformer.context_embedder(context)
        vector = teacher.transformer.time_text_embed.text_embedder(pooled)
    context, pooled = student.encode(ids)
    mine = student.transformer.context_embedder(context)
    other = student.transformer.time_text_embed.text_embedder(pooled)
    return (mine - tokens).square().mean() / tokens.var(), (other - vector).square().mean() / vector.var()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", type=Path, default=Path("assets/models/scenes-sd3"))
    parser.add_argument("--out", type=Path, default=Path("checkpoints/scenes_flux.pt"))
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shards", type=Path, help="take the captions of these scenes: fresh ones are slow")
    arguments = parser.parse_args()
    device = arguments.device
    run = Run(FluxStudent, read_flux, arguments.out, device, "adamw", 1e-3, warm=arguments.teacher)
    student: FluxStudent = run.student
    teacher = Student().to(device).eval().requires_grad_(False)
    read_exported(teacher, arguments.teacher)
    learnt = [
        *student.t5.parameters(),
        *student.clip.parameters(),
        *student.transformer.context_embedder.parameters(),
        *student.transformer.time_text_embed.text_embedder.parameters(),
    ]
    optimiser = torch.optim.AdamW(learnt, lr=arguments.rate, betas=(0.9, 0.98), weight_decay=0.0)
    rng, generator = np.random.default_rng(41), torch.Generator(device).manual_seed(41)
    scenes = Scenes(arguments.shards, 256, seed=41, device=device, room=ROOM) if arguments.shards else None
    began = said = time.time()
    step, errors = 0, deque[Tensor](maxlen=100)
    while (done := (time.time() - began) / (60 * arguments.minutes)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = arguments.rate * min(1.0, (step + 1) / 100) * max(0.02, min(1.0, (1 - done) / 0.5))
        if scenes:
            ids = stored_captions(scenes, generator, arguments.batch)
        else:
            ids = caption_ids(rng, arguments.batch).to(device)
        tokens, vector = text_errors(student, teacher, ids)
        optimiser.zero_grad(set_to_none=True)
        (tokens + vector).backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimiser.step()
        step += 1
        errors.append(torch.stack([tokens, vector]).detach())
        if step % 25 == 0:
            errors[-1].tolist()  # wait for the device, so that the clock does not run ahead of it
        if time.time() - said > 10:
            said = time.time()
            mean = [round(error, 4) for error in torch.stack(list(errors)).mean(0).tolist()]
            print(json.dumps({"step": step, "tokens": mean[0], "vector": mean[1]}), flush=True)
    run.average.load_state_dict(student.state_dict())
    run.state["text"] = {"steps": step, "captions": step * arguments.batch, "tokens": TEXT_TOKENS}
    run.optimisers = []
    run.save()


if __name__ == "__main__":
    main()
