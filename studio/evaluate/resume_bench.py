"""What a late change of a run costs when it goes on from a stored state, beside the whole run: calls, rows
and time, in one process, alternating."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from studio.blocks.step_cache import attachment, taylor
from studio.errors import StudioError
from studio.evaluate.limit import limit_of
from studio.evaluate.prompts import settings_of
from studio.models.embedded import DEFAULT
from studio.models.family import Parts, parts_of
from studio.models.loading import ModelStore
from studio.sampling import samplers, schedules
from studio.sampling.guidance.adaptive import adaptive
from studio.sampling.guidance.cfg import cfg
from studio.sampling.loop import Run, sample_run
from studio.sampling.prefix import Prefix
from studio.values import Attachment, Conditioning, Guidance, Latent

PROMPT, AVOID = "a red star on the left and a blue house on the right, at night", ""


class Memory:
    """A store without limits."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.values.get(key)

    def put(self, key: str, value: Any, seconds: float, *, disk: bool) -> None:
        self.values[key] = value


class _Bench:
    def __init__(self, parts: Parts, settings: dict[str, Any], steps: int) -> None:
        self.parts, self.steps = parts, steps
        self.sigmas = schedules.schedule("flow_diffusers", steps, settings["shift"])
        self.size = settings["size"]
        self.texts: tuple[Conditioning, Conditioning] = (
            parts.family.encode_text(parts, PROMPT)[0],
            parts.family.encode_text(parts, AVOID)[0],
        )

    def run(
        self, seed: int, guidance: Guidance, name: str, more: tuple[Attachment, ...], store: Memory | None
    ) -> tuple[Run, float]:
        prefix = None if store is None else Prefix(store, "bench")
        canvas = Latent(self.size[0], self.size[1], 1, seed)
        begun = time.perf_counter()
        made = sample_run(
            self.parts, *self.texts, canvas, self.sigmas, samplers.sampler(name), guidance,
            attachments=more, prefix=prefix,
        )  # fmt: skip
        return made, time.perf_counter() - begun


def bench_resume(
    ref: str = DEFAULT,
    *,
    pairs: int = 3,
    steps: int = 28,
    only: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """One row a change: `change`, `steps`, `resumed` (steps taken over), `calls` and `rows` of the whole run
    and of the one that goes on, their shares, `time_share` (median of the ratios), `equal` (bit by bit),
    `seconds` of the one that goes on (median) and its physical limit last: what is left to compute.

    `only`: the changes whose name has this in it.
    """
    model = ModelStore().load(ref)
    settings = settings_of(model)
    bench = _Bench(parts_of(model), settings, steps)
    scale = settings["cfg_scale"] if settings["cfg_scale"] != 1 else 3.0
    cache = (attachment(taylor(2)),)
    changes: list[tuple[str, Guidance, Guidance, str, tuple[Attachment, ...]]] = [
        ("guidance end 0.7 to 0.8", cfg(scale, 0, 0.7), cfg(scale, 0, 0.8), "euler", ()),
        ("guidance end 0.7 to 0.8, dpmpp_2m", cfg(scale, 0, 0.7), cfg(scale, 0, 0.8), "dpmpp_2m", ()),
        ("guidance end 0.7 to 0.8, step cache", cfg(scale, 0, 0.7), cfg(scale, 0, 0.8), "euler", cache),
        (
            "adaptive guidance, end 0.7 to 0.8",
            adaptive(cfg(scale, 0, 0.7), 0.9999),
            adaptive(cfg(scale, 0, 0.8), 0.9999),
            "euler",
            (),
        ),
        ("the same again", cfg(scale), cfg(scale), "euler", ()),
    ]
    wanted = [change for change in changes if only is None or only in change[0]]
    if not wanted:
        raise StudioError(
            f"There is no change with {only!r} in its name.",
            hint=f"Possible: {'; '.join(change[0] for change in changes)}.",
        )
    rows = []
    for change, before, after, name, more in wanted:
        ratios, seconds, equal, first, second = [], [], True, None, None
        for pair in range(pairs):
            store = Memory()
            bench.run(pair, before, name, more, store)
            second, quick = bench.run(pair, after, name, more, store)
            first, slow = bench.run(pair, after, name, more, None)
            ratios.append(quick / slow)
            seconds.append(quick)
            assert first.latent.tensor is not None and second.latent.tensor is not None
            equal &= torch.equal(first.latent.tensor, second.latent.tensor)
        assert first is not None and second is not None
        row: dict[str, Any] = {"model": ref, "change": change, "steps": steps, "resumed": second.resumed}
        for what, name_of in (("calls", "forwards"), ("rows", "rows")):
            whole, rest = first.calls[name_of], second.calls[name_of]
            assert isinstance(whole, int) and isinstance(rest, int)
            row |= {f"{what}_whole": whole, what: rest, f"{what}_share": round(rest / whole, 3)}
        row |= {"time_share": round(statistics.median(ratios), 3), "equal": equal, "n": pairs}
        took, store = statistics.median(seconds), Memory()
        bench.run(0, before, name, more, store)
        work = limit_of(
            partial(bench.run, 0, after, name, more, store), bench.parts.device, bench.parts.dtype
        )
        row |= {"seconds": round(took, 4), **work.columns(took)}
        rows.append(row)
        if progress is not None:
            progress(f"{change}: {row}")
    return rows
