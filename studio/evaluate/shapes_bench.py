"""`bench shapes`: the denoising loop on the true shapes of SD3.5 and FLUX.1, with random weights, on a GPU.

Random weights say nothing of pictures, only of time: our loop beside the bare network in a loop of nothing
but calls (what no loop can beat), and step caches with a pattern that is fixed beforehand, since gates would
decide by numbers that mean nothing. Texts are random numbers of the right shape.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from studio.blocks.gates import Limits
from studio.blocks.step_cache import attachment, delta_dit, taylor
from studio.errors import StudioError, did_you_mean
from studio.evaluate.limit import limit_of
from studio.models.device import place
from studio.models.family import Parts, parts_of
from studio.models.loading import ModelStore
from studio.sampling.guidance.cfg import cfg
from studio.sampling.guidance.embedded import embedded_guidance
from studio.sampling.loop import sample_run
from studio.sampling.samplers import sampler
from studio.sampling.schedules import flow
from studio.values import Attachment, Conditioning, Guidance, Latent

POINT = 8  # pixels a point of the latent


@dataclass(frozen=True)
class Shape:
    """A network by its published configuration. `tokens`: of text; `cfg_scale` 1 = one row a step."""

    name: str
    family: str
    config: Mapping[str, Any]
    tokens: int
    steps: int
    cfg_scale: float = 1.0
    side: int = 1024


def _sd3(layers: int, heads: int, positions: int, **more: Any) -> dict[str, Any]:
    return {
        "sample_size": 128,
        "patch_size": 2,
        "in_channels": 16,
        "out_channels": 16,
        "num_layers": layers,
        "attention_head_dim": 64,
        "num_attention_heads": heads,
        "joint_attention_dim": 4096,
        "caption_projection_dim": 64 * heads,
        "pooled_projection_dim": 2048,
        "pos_embed_max_size": positions,
        "qk_norm": "rms_norm",
        **more,
    }


_FLUX = {
    "patch_size": 1,
    "in_channels": 64,
    "num_layers": 19,
    "num_single_layers": 38,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "axes_dims_rope": (16, 56, 56),
}
SHAPES = (
    Shape("sd3.5-medium", "sd3", _sd3(24, 24, 384, dual_attention_layers=tuple(range(13))), 333, 28, 4.5),
    Shape("sd3.5-large", "sd3", _sd3(38, 38, 192), 333, 28, 4.5),
    Shape("sd3.5-large-turbo", "sd3", _sd3(38, 38, 192), 333, 4),
    Shape("flux.1-dev", "flux", {**_FLUX, "guidance_embeds": True}, 512, 28),
    Shape("flux.1-schnell", "flux", {**_FLUX, "guidance_embeds": False}, 256, 4),
)


def bench_shapes(
    device: str = "auto",
    *,
    only: str | None = None,
    steps: int | None = None,
    repeats: int = 3,
    progress: Callable[[str], None] | None = None,
) -> list[dict[str, object]]:
    """One row a shape and mode: `shape`, `mode`, `steps`, `seconds` (median of the denoising loop), `speedup`
    over our plain loop, `calls_ratio` (our plain loop to the bare calls), `peak_mib`, the physical limit
    last.

    StudioError on a CPU, where one call of these networks takes minutes.
    """
    chosen = [shape for shape in SHAPES if only is None or only in shape.name]
    if not chosen:
        names = [shape.name for shape in SHAPES]
        hint = did_you_mean(str(only), names) or f"Possible: {', '.join(names)}."
        raise StudioError(f"There is no shape {only!r}.", hint=hint)
    placement = place(device)
    if placement.device.type == "cpu":
        raise StudioError(
            "True shapes are timed on a GPU: on a CPU one picture would take an hour.",
            hint="Run it where there is one, with --device cuda; `bench plain` times the embedded one.",
        )
    rows: list[dict[str, object]] = []
    for shape in chosen:
        if progress is not None:
            progress(f"{shape.name}: making {shape.side} x {shape.side}, {steps or shape.steps} steps")
        rows += measure(shape, placement.device, placement.dtype, steps=steps, repeats=repeats)
        if placement.device.type == "cuda":
            torch.cuda.empty_cache()
    return rows


def modes(steps: int) -> dict[str, Sequence[Attachment]]:
    """Ours by name, the plain one first; caches only where they take runs of so many steps."""
    found: dict[str, Sequence[Attachment]] = {"plain": ()}
    if steps > 4:
        warm = Limits(warm=3)
        found |= {
            "taylor 3, order 1": [attachment(taylor(3, order=1, limits=warm))],
            "taylor 5, order 2": [attachment(taylor(5, order=2, limits=warm))],
        }
    return found | {"delta 2": [attachment(delta_dit(2))]} if steps > 1 else found


def measure(
    shape: Shape, device: torch.device, dtype: torch.dtype, *, steps: int | None = None, repeats: int = 3
) -> list[dict[str, object]]:
    """The rows of one shape on any device."""
    count = steps or shape.steps
    parts = random_parts(shape, device, dtype)
    positive, negative = _text(parts, shape, 1), _text(parts, shape, 2)
    point = 64 // parts.family.latent_shape(parts, 1, 64, 64)[3]
    side = shape.side // POINT * point
    guidance: Guidance = cfg(shape.cfg_scale)
    if getattr(parts.transformer.config, "guidance_embeds", False):
        guidance = embedded_guidance(3.5, 1.0)

    def run(attachments: Sequence[Attachment]) -> None:
        sample_run(
            parts,
            positive,
            negative,
            Latent(side, side, 1, 1),
            flow(count, 3.0),
            sampler("euler"),
            guidance,
            attachments=attachments,
        )

    sides: dict[str, Callable[[], None]] = {"bare calls": bare_calls(parts, lambda: run(()), count)}
    for name, given in modes(count).items():
        sides[name] = partial(run, given)
    limits = {name: limit_of(work, device, dtype) for name, work in sides.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    peaks: dict[str, int | None] = {}
    for index in range(repeats):
        # turns: nothing is always the one right after the bare calls
        names = list(sides)
        for name in [*names[index % len(names) :], *names[: index % len(names)]]:
            took, peaks[name] = _timed(sides[name], device)
            seconds[name].append(took)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    return [
        {
            "shape": shape.name,
            "mode": name,
            "side": shape.side,
            "steps": count,
            "seconds": round(median[name], 4),
            "speedup": round(median["plain"] / median[name], 3),
            "calls_ratio": round(median["plain"] / median["bare calls"], 4),
            "peak_mib": peaks[name],
            "repeats": repeats,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
            "dtype": str(dtype).removeprefix("torch."),
            "torch": torch.__version__,
            **limits[name].columns(median[name]),
        }
        for name in sides
    ]


def random_parts(shape: Shape, device: torch.device, dtype: torch.dtype) -> Parts:
    """Parts whose transformer has this shape and random weights; all else is the miniature's and takes no
    part."""
    import diffusers

    kind = {"sd3": diffusers.SD3Transformer2DModel, "flux": diffusers.FluxTransformer2DModel}[shape.family]
    store = ModelStore(device="cpu")
    small = parts_of(store.load(f"tiny:{shape.family}"))
    before = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.device(device):
        torch.manual_seed(0)
        torch.set_default_dtype(dtype)
        try:
            network = kind(**shape.config).eval().requires_grad_(False)
        finally:
            torch.set_default_dtype(before)
    components = {**small.components, "transformer": network}
    return replace(small, components=components, device=device, dtype=dtype, notes={})


def bare_calls(parts: Parts, run: Callable[[], None], steps: int) -> Callable[[], None]:
    """`steps` calls of the network with what our loop gives it at its first step, and nothing else."""
    given: dict[str, Any] = {}

    def note(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not given:
            given.update(kwargs)

    handle = parts.transformer.register_forward_pre_hook(note, with_kwargs=True)
    try:
        run()
    finally:
        handle.remove()

    def calls() -> None:
        with torch.inference_mode():
            for _ in range(steps):
                parts.transformer(**given)

    return calls


def _text(parts: Parts, shape: Shape, seed: int) -> Conditioning:
    generator = torch.Generator().manual_seed(seed)
    config = parts.transformer.config
    embeds = torch.randn(1, shape.tokens, config.joint_attention_dim, generator=generator)
    pooled = torch.randn(1, config.pooled_projection_dim, generator=generator)
    return Conditioning("", parts.family.name, embeds, pooled)


def _timed(work: Callable[[], None], device: torch.device) -> tuple[float, int | None]:
    """(seconds, peak MiB at the device)."""
    if device.type != "cuda":
        begun = time.perf_counter()
        work()
        return time.perf_counter() - begun, None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    begun = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - begun, torch.cuda.max_memory_allocated(device) >> 20
