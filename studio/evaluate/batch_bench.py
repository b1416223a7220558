"""Pictures of a queue made together, beside the same ones after each other: time a picture in one process,
alternating, and how far apart they are."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from studio.evaluate.limit import Limit, limit_of
from studio.evaluate.prompts import settings_of
from studio.models.embedded import DEFAULT
from studio.models.family import parts_of
from studio.models.loading import ModelStore
from studio.sampling import samplers, schedules
from studio.sampling.batch import Item, sample_batch
from studio.sampling.guidance.cfg import cfg
from studio.sampling.loop import Run, sample_run
from studio.scenes.caption import held_out_prompts
from studio.values import Latent

SIZES = (1, 2, 4)


def bench_batch(
    ref: str = DEFAULT,
    *,
    pairs: int = 3,
    steps: int = 20,
    progress: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """One row for each number of pictures made together and size: `together`, `pixels`, `speedup` (median
    of the ratios of time a picture), `difference` (largest of a final latent to the one alone), `seconds` a
    picture (median, made together) and its physical limit last."""
    model = ModelStore().load(ref)
    parts, settings = parts_of(model), settings_of(model)
    sigmas, rule = schedules.schedule("flow_diffusers", steps, settings["shift"]), cfg(settings["cfg_scale"])
    euler = samplers.sampler("euler")
    negative = parts.family.encode_text(parts, "")[0]
    texts = [parts.family.encode_text(parts, text)[0] for text, _, _ in held_out_prompts(max(SIZES), seed=0)]
    rows = []
    for side in sorted({settings["size"][0], settings["size"][0] // 2}):
        for together in SIZES:
            items = [Item(texts[k], negative, Latent(side, side, 1, k)) for k in range(together)]
            ratios, seconds, apart = [], [], 0.0
            for _ in range(pairs):
                begun = time.perf_counter()
                alone = [
                    sample_run(parts, item.positive, negative, item.canvas, sigmas, euler, rule)
                    for item in items
                ]
                middle = time.perf_counter()
                made = sample_batch(parts, items, sigmas, euler, rule)
                seconds.append((time.perf_counter() - middle) / together)
                ratios.append((middle - begun) / (seconds[-1] * together))
                for one, other in zip(alone, made, strict=True):
                    assert isinstance(other, Run)
                    assert one.latent.tensor is not None and other.latent.tensor is not None
                    apart = max(apart, float((one.latent.tensor - other.latent.tensor).abs().max()))
            work = limit_of(
                partial(sample_batch, parts, items, sigmas, euler, rule), parts.device, parts.dtype
            )
            took = statistics.median(seconds)
            row = {
                "model": ref,
                "together": together,
                "pixels": side,
                "steps": steps,
                "speedup": round(statistics.median(ratios), 3),
                "difference": float(f"{apart:.2g}"),
                "n": pairs,
                "seconds": round(took, 3),
                **Limit(work.flops / together, work.speed).columns(took),
            }
            rows.append(row)
            if progress is not None:
                progress(str(row))
    return rows
