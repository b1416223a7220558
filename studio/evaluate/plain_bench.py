"""A plain picture, ours against the stock pipeline: same weights, same process, alternating (issue 2,
section 5).

Encoding and decoding are included, previews are off. Peak memory is measured with each side in a fresh
process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from studio.errors import StudioError
from studio.evaluate.limit import limit_of
from studio.models.device import place
from studio.models.embedded import DEFAULT
from studio.models.family import Parts
from studio.models.folders import Folder, check_folder
from studio.models.loading import load_folder, ref_folder
from studio.models.pictures import decode_latent
from studio.models.text import encode_prompt
from studio.pixels import encode
from studio.sampling.guidance.cfg import cfg
from studio.sampling.guidance.embedded import embedded_guidance
from studio.sampling.loop import sample_latent
from studio.sampling.previews import preview
from studio.sampling.samplers import sampler
from studio.sampling.schedules import flow_diffusers, flux, flux_by_size
from studio.values import Guidance, Latent, Sigmas

PROMPT = "a red star on the left and a blue house on the right, at night"
NEGATIVE = ""
SCALE = 3.0
SEED = 1
PREVIEWS_PER_SECOND = 4
ROOT = Path(__file__).resolve().parents[2]
# seed -> pixels, uint8, height, width, 3
Side = Callable[[int], object]


def bench_plain(
    model: str = DEFAULT,
    *,
    pairs: int = 7,
    steps: int = 20,
    size: tuple[int, int] = (256, 256),
    memory: bool = True,
) -> dict[str, object]:
    """Figures of one object: `wall_ratio`, `memory_ratio` (None where it cannot be measured),
    `seconds_per_picture`.

    `size`: width, height in pixels. `largest_difference`: between both sides' pictures, in levels of 255. The
    physical limit (`limit.Limit.columns`) comes last.
    """
    if pairs < 1:
        raise StudioError(
            f"{pairs} pairs cannot be measured.", hint="Take at least 1; the figure of record takes 7."
        )
    folder = ref_folder(model)
    ours, stock = ours_side(folder, steps, size), stock_side(folder, steps, size)
    difference = _difference(ours(SEED), stock(SEED))
    seconds: dict[str, list[float]] = {"ours": [], "stock": []}
    cpu: dict[str, list[float]] = {"ours": [], "stock": []}
    for index in range(pairs):
        order = (("ours", ours), ("stock", stock))
        for name, side in order if index % 2 == 0 else reversed(order):
            start, busy = time.perf_counter(), time.process_time()
            side(SEED + index)
            seconds[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - busy)
    ratios = [mine / theirs for mine, theirs in zip(seconds["ours"], seconds["stock"], strict=True)]
    peaks = {name: peak_memory(name, folder, steps, size) for name in ("ours", "stock")} if memory else {}
    mine, theirs = peaks.get("ours"), peaks.get("stock")
    own = statistics.median(seconds["ours"])
    one_preview = preview_seconds(folder, size)
    placement = place()
    limit = limit_of(lambda: ours(SEED), placement.device, placement.dtype)
    return {
        "wall_ratio": round(statistics.median(ratios), 4),
        "memory_ratio": round(mine / theirs, 4) if mine and theirs else None,
        "seconds_per_picture": round(own, 3),
        "stock_seconds_per_picture": round(statistics.median(seconds["stock"]), 3),
        # processor time: steadier than the clock where other programs compete
        "cpu_ratio": round(statistics.median(cpu["ours"]) / max(statistics.median(cpu["stock"]), 1e-9), 4),
        "wall_ratios": [round(ratio, 4) for ratio in ratios],
        "memory_bytes": {"ours": mine, "stock": theirs},
        "largest_difference": difference,
        "preview_seconds": round(one_preview, 5),
        "preview_share": round(one_preview * PREVIEWS_PER_SECOND, 4),
        "pairs": pairs,
        "steps": steps,
        "width": size[0],
        "height": size[1],
        ("guidance" if is_flux(check_folder(folder)) else "cfg_scale"): SCALE,
        "model": model,
        "device": str(placement.device),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        **limit.columns(own),
    }


def ours_side(folder: Path, steps: int, size: tuple[int, int]) -> Side:
    """Our path from words to pixels, on loaded parts."""
    checked = check_folder(folder)
    parts = load_folder(checked, place())
    sigmas, rule = _as_stock(checked, steps, size)

    def make(seed: int) -> object:
        positive, _, _ = encode_prompt(parts, PROMPT, "")
        negative, _, _ = encode_prompt(parts, NEGATIVE, "")
        latent = sample_latent(
            parts,
            positive,
            negative,
            Latent(*size, seed=seed),
            sigmas,
            sampler("euler"),
            rule,
        )
        return decode_latent(parts, latent).pixels

    return make


def stock_side(folder: Path, steps: int, size: tuple[int, int]) -> Side:
    """The stock pipeline on the same folder, device and dtype."""
    import numpy as np
    from diffusers import FluxPipeline, StableDiffusion3Pipeline
    from diffusers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    checked = check_folder(folder)
    placement = place()
    whole = is_flux(checked) or "text_encoder_3" in checked.classes
    absent: Mapping[str, None] = {} if whole else {"text_encoder_3": None, "tokenizer_3": None}
    pipeline = (FluxPipeline if is_flux(checked) else StableDiffusion3Pipeline).from_pretrained(
        folder, dtype=placement.dtype, low_cpu_mem_usage=False, local_files_only=True, **absent
    )
    pipeline.to(placement.device)
    pipeline.set_progress_bar_config(disable=True)
    length = checked.card.get("max_sequence_length", 256)
    more = {} if is_flux(checked) else {"negative_prompt": NEGATIVE}

    def make(seed: int) -> object:
        picture = pipeline(
            PROMPT,
            **more,
            num_inference_steps=steps,
            guidance_scale=SCALE,
            width=size[0],
            height=size[1],
            max_sequence_length=length,
            generator=torch.Generator("cpu").manual_seed(seed),
        ).images[0]
        return np.asarray(picture)

    return make


def is_flux(checked: Folder) -> bool:
    """Whether a folder's stock pipeline is FluxPipeline."""
    return checked.family.name == "flux"


def _as_stock(folder: Folder, steps: int, size: tuple[int, int]) -> tuple[Sigmas, Guidance]:
    """The schedule and guidance of the stock pipeline: FLUX takes the number as an input, SD3 does two
    passes."""
    config = json.loads((folder.path / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    shift = float(config.get("shift", 1.0))
    if not is_flux(folder):
        return flow_diffusers(steps, shift), cfg(SCALE)
    if not config.get("use_dynamic_shifting"):
        return flux(steps, shift), embedded_guidance(SCALE)
    tokens = (size[0] // 16) * (size[1] // 16)
    ends = (float(config[name]) for name in ("base_shift", "max_shift"))
    return flux_by_size(steps, tokens, *ends), embedded_guidance(SCALE)


def preview_seconds(folder: Path, size: tuple[int, int], times: int = 20) -> float:
    """Median time of one preview, its WEBP file included."""
    parts: Parts = load_folder(check_folder(folder), place())
    shape = parts.family.latent_shape(parts, 1, *size)
    coarse = torch.randn(1, shape[1], 4, 4, generator=torch.Generator().manual_seed(0))
    # smooth, as a clean estimate is: the WEBP file of plain noise takes five times as long
    latent = torch.nn.functional.interpolate(coarse, size=shape[2:], mode="bilinear")
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        encode(preview(parts, latent), "WEBP")
        spent.append(time.perf_counter() - start)
    return statistics.median(spent)


def peak_memory(side: str, folder: Path, steps: int, size: tuple[int, int]) -> int | None:
    """Peak resident bytes of a fresh process that makes one picture; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    command = [
        sys.executable,
        "-m",
        "studio.evaluate.plain_bench",
        side,
        str(folder),
        str(steps),
        *map(str, size),
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise StudioError(f"The measuring process of {side!r} failed: {done.stderr.strip()[-300:]}")
    return int(json.loads(done.stdout.splitlines()[-1])["peak"])


def _difference(ours: object, stock: object) -> int:
    import numpy as np

    return int(np.abs(np.asarray(ours).astype(int) - np.asarray(stock).astype(int)).max())


def _main() -> None:
    """`side folder steps width height`: one picture, then the peak memory of this process as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=["ours", "stock"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("numbers", type=int, nargs=3)
    args = parser.parse_args()
    steps, width, height = args.numbers
    make = ours_side if args.side == "ours" else stock_side
    make(args.folder, steps, (width, height))(SEED)
    sys.stdout.write(json.dumps({"peak": peak_bytes()}) + "\n")


def peak_bytes() -> int:
    """Peak resident bytes of this process."""
    import resource

    status = Path("/proc/self/status")
    if status.is_file():
        # ru_maxrss would start from the peak of the process that started this one
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    _main()
