"""`bench upscale`: the embedded upscaler beside Lanczos, against the exact render at the larger size: x2 in
one pass, x4 in two."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from studio.errors import StudioError
from studio.evaluate.limit import limit_of
from studio.evaluate.pictures import psnr, ssim
from studio.models.device import place
from studio.policy import Policy
from studio.scenes.draw import draw
from studio.scenes.world import sample_scene
from studio.upscaling.engines import DEFAULT, filter_upscaler, upscaler_of
from studio.upscaling.run import enlarge
from studio.values import Image

SIZE = 256
SCALES = (2, 4)
INPUTS = ("drawn", "shrunk")


def bench_upscale(
    cases: int = 8,
    *,
    upscaler: str = DEFAULT,
    size: int = SIZE,
    progress: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """One row an input and scale: `input` ("drawn" at `size`, or the answer "shrunk" by boxes), `scale`,
    `passes`, `psnr_db`, `ssim`, the same of `lanczos`, `gain_db`, `better` (of n), `cpu_seconds` of processor
    time a picture, the physical limit last. Scenes are held-out combinations."""
    if cases < 1:
        raise StudioError(f"{cases} cases cannot be measured.", hint="Take at least 1.")
    network, plain = upscaler_of(upscaler, Policy.local()), filter_upscaler("lanczos")
    found: dict[tuple[str, int], dict[str, list[float]]] = {(i, s): {} for s in SCALES for i in INPUTS}
    passes: dict[int, int] = {}
    for index in range(cases):
        scene = sample_scene(np.random.default_rng(9_000_000 + index), held_out_only=True)
        for (kind, scale), told in found.items():
            answer = Image(draw(scene, size * scale))
            given = Image(draw(scene, size)) if kind == "drawn" else _shrunk(answer, scale)
            begun = time.process_time()
            made = enlarge(network, given, scale)
            seconds = time.process_time() - begun
            passes[scale] = made.passes
            other = enlarge(plain, given, scale).image
            for name, value in (
                ("psnr_db", psnr(answer.pixels, made.image.pixels)),
                ("ssim", ssim(answer.pixels, made.image.pixels)),
                ("lanczos_psnr_db", psnr(answer.pixels, other.pixels)),
                ("lanczos_ssim", ssim(answer.pixels, other.pixels)),
                ("cpu_seconds", seconds),
            ):
                told.setdefault(name, []).append(value)
        if progress is not None:
            progress(f"upscale: {index + 1} of {cases} scenes")
    placement, rows = place("cpu"), []
    blank = Image(np.zeros((size, size, 3), np.uint8))
    for (kind, scale), told in found.items():
        means = {name: float(np.mean(values)) for name, values in told.items()}
        work = limit_of(partial(enlarge, network, blank, scale), placement.device, placement.dtype)
        better = sum(a > b for a, b in zip(told["psnr_db"], told["lanczos_psnr_db"], strict=True))
        rows.append(
            {
                "upscaler": network.name,
                "input": kind,
                "scale": scale,
                "passes": passes[scale],
                "n": cases,
                **{name: round(means[name], 2 if name.endswith("db") else 4) for name in means},
                "gain_db": round(means["psnr_db"] - means["lanczos_psnr_db"], 2),
                "better": better,
                **work.columns(means["cpu_seconds"]),
            }
        )
    return rows


def _shrunk(image: Image, scale: int) -> Image:
    pixels = image.pixels.reshape(image.height // scale, scale, image.width // scale, scale, 3)
    return Image(np.rint(pixels.mean((1, 3))).astype(np.uint8))
