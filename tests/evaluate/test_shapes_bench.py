"""`bench shapes`: its rows on a miniature of each family; that the shapes are the published ones; refused on
a CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from studio.errors import StudioError
from studio.evaluate.shapes_bench import SHAPES, Shape, bench_shapes, measure, modes

SD3 = {
    "num_layers": 4,
    "num_attention_heads": 2,
    "caption_projection_dim": 128,
    "pos_embed_max_size": 16,
    "dual_attention_layers": (),
}
FLUX = {"num_layers": 2, "num_single_layers": 2, "num_attention_heads": 1}
SMALL = {"sd3": SD3, "flux": FLUX}


def small(family: str) -> Shape:
    shape = next(shape for shape in SHAPES if shape.family == family)
    return replace(shape, config={**shape.config, **SMALL[family]}, tokens=5, side=128)


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_every_mode_has_a_row_and_caches_compute_less(family: str) -> None:
    rows = measure(small(family), torch.device("cpu"), torch.float32, steps=6, repeats=1)
    assert [row["mode"] for row in rows] == ["bare calls", *modes(6)]
    work = {row["mode"]: row["gflop"] for row in rows}
    assert work["plain"] == pytest.approx(work["bare calls"], rel=1e-6)
    assert work["taylor 3, order 1"] < 0.8 * work["plain"]  # type: ignore[operator]
    assert all(list(row)[-1] == "limit_seconds" and row["seconds"] > 0 for row in rows)  # type: ignore[operator]


def test_few_steps_have_the_mild_cache_alone() -> None:
    assert list(modes(4)) == ["plain", "delta 2"] and list(modes(1)) == ["plain"]


def test_parameters_are_the_published_numbers() -> None:
    import diffusers

    billions = {"sd3.5-medium": 2.2, "sd3.5-large": 8.1, "flux.1-dev": 11.9, "flux.1-schnell": 11.9}
    for shape in SHAPES:
        if shape.name in billions:
            kind = (
                diffusers.SD3Transformer2DModel if shape.family == "sd3" else diffusers.FluxTransformer2DModel
            )
            with torch.device("meta"):
                count = sum(parameter.numel() for parameter in kind(**shape.config).parameters())
            assert count / 1e9 == pytest.approx(billions[shape.name], abs=0.15)


def test_a_cpu_is_refused_kindly_and_unknown_shapes_are_named() -> None:
    with pytest.raises(StudioError, match="on a GPU") as caught:
        bench_shapes("cpu")
    assert "--device cuda" in caught.value.hint
    with pytest.raises(StudioError, match="no shape") as caught:
        bench_shapes("cpu", only="sd4")
    assert "sd3.5-medium" in caught.value.hint
