"""Look at a checkpoint while it trains: held-out prompts, drawn by the moving average, judged by the scene
judge.

    python -m studio.training.judge --size 128 --cases 64 --sheet /tmp/sheet.png
    python -m studio.training.judge --model scenes-flux --cfg 1 --guidance 3
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from PIL import Image

from studio.scenes.caption import held_out_prompts
from studio.scenes.detect import detect
from studio.scenes.score import PromptScore, score
from studio.scenes.wanted import Wanted
from studio.training.latent_space import load_space, make_autoencoder
from studio.training.recipe import SHIFT, Student, make_tokenizer, sample, stored
from studio.training.recipe_flux import PLAIN, FluxStudent
from studio.training.run import fast_bfloat16

NAMES = ("one", "two", "three", "four")
STUDENTS: Mapping[str, Callable[[], Any]] = {"scenes-sd3": Student, "scenes-flux": FluxStudent}


def checkpoint_of(model: str) -> Path:
    """Where the recipe of a model, one of STUDENTS, writes unless told otherwise."""
    return Path("checkpoints") / f"{model.replace('-', '_')}.pt"


def load_student(path: Path, model: str = "scenes-sd3") -> Any:
    """The moving average of a checkpoint of a model, one of STUDENTS, ready to draw."""
    student = STUDENTS[model]().eval().requires_grad_(False)
    student.load_state_dict(torch.load(path, weights_only=True, map_location="cpu")["average"])
    return student


def load_autoencoder(folder: Path, path: Path) -> AutoencoderTiny:
    """The average of a checkpoint, or what an exported model has in its `vae` folder (fp16)."""
    autoencoder = make_autoencoder(load_space(folder / "latent_space.npz")).eval()
    if path.is_dir():
        saved = stored(path / "diffusion_pytorch_model.safetensors")
    else:
        saved = torch.load(path, weights_only=True, map_location="cpu")["average"]
    autoencoder.load_state_dict(saved)
    return autoencoder.requires_grad_(False)


def draw_prompts(
    student: Any,
    autoencoder: AutoencoderTiny,
    prompts: list[str],
    size: int,
    *,
    steps: int,
    cfg_scale: float,
    shift: float,
    batch: int = 32,
    device: str = "cpu",
) -> np.ndarray:
    """uint8 [n, size, size, 3], one picture a prompt."""
    tokenizer, half = make_tokenizer(), fast_bfloat16(device)
    out = []
    for start in range(0, len(prompts), batch):
        part = prompts[start : start + batch]
        ids = tokenizer(part, padding="max_length", truncation=True, return_tensors="pt").input_ids.to(device)
        with torch.autocast(device, torch.bfloat16, enabled=half):
            latents = sample(
                student, ids, size // 8, steps=steps, cfg_scale=cfg_scale, shift=shift, seed=start
            )
        with torch.no_grad():
            decoded = autoencoder.decode(latents.float()).sample
        out.append(decoded.add(1).mul(127.5).clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(out)


def judged(picture: np.ndarray, wanted: Wanted) -> PromptScore:
    return score(detect(picture), wanted)


def table(pictures: np.ndarray, cases: list, processes: int = 1) -> dict[str, dict[str, float]]:
    """Share right by object count: all_right, and each property over the prompts that state it."""
    right: dict[str, Counter] = {name: Counter() for name in NAMES}
    asked: dict[str, Counter] = {name: Counter() for name in NAMES}
    wishes = [case[1] for case in cases]
    if processes > 1:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            results = list(pool.map(judged, pictures, wishes, chunksize=8))
    else:
        results = list(map(judged, pictures, wishes))
    for result, (_, _, count) in zip(results, cases, strict=True):
        name = NAMES[count - 1]
        asked[name]["all_right"] += 1
        right[name]["all_right"] += result.all_right
        for key, (good, of) in result.properties.items():
            right[name][key] += good
            asked[name][key] += of
    return {
        name: {key: round(right[name][key] / asked[name][key], 3) for key in asked[name] if asked[name][key]}
        for name in NAMES
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=tuple(STUDENTS), default="scenes-sd3")
    parser.add_argument("--checkpoint", type=Path, help="default: where the model's recipe writes")
    parser.add_argument(
        "--autoencoder",
        type=Path,
        default=Path("checkpoints/autoencoder.pt"),
        help="a checkpoint, or assets/models/scenes-sd3/vae",
    )
    parser.add_argument("--shards", type=Path, default=Path("checkpoints/shards"))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--cases", type=int, default=64)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--cfg", type=float, default=3.0)
    parser.add_argument("--guidance", type=float, default=PLAIN, help="the number put into scenes-flux")
    parser.add_argument("--shift", type=float, default=0.0, help="0: by size")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--processes", type=int, default=1, help="that judge the pictures")
    arguments = parser.parse_args()
    student = load_student(arguments.checkpoint or checkpoint_of(arguments.model), arguments.model)
    if arguments.model == "scenes-flux":
        student.guidance = arguments.guidance
    student = student.to(arguments.device)
    autoencoder = load_autoencoder(arguments.shards, arguments.autoencoder).to(arguments.device)
    cases = held_out_prompts(arguments.cases, seed=1)
    shift = arguments.shift or {64: 1.0, 128: 2.0}.get(arguments.size, SHIFT)
    pictures = draw_prompts(
        student,
        autoencoder,
        [case[0] for case in cases],
        arguments.size,
        steps=arguments.steps,
        cfg_scale=arguments.cfg,
        shift=shift,
        batch=32 if arguments.device == "cpu" else 128,
        device=arguments.device,
    )
    if arguments.sheet:
        columns = 8
        rows = [
            np.concatenate(pictures[r : r + columns], 1)
            for r in range(0, len(pictures) - columns + 1, columns)
        ]
        Image.fromarray(np.concatenate(rows[:8])).save(arguments.sheet)
    print(json.dumps({"judged": arguments.model, **table(pictures, cases, arguments.processes)}))


if __name__ == "__main__":
    main()
