"""edge_follow.py: a coarse map is cut where the picture has its edge; other pieces stay out."""

from __future__ import annotations

import pytest
import torch

from studio.controls.attention_cut import cut, level, otsu, to_pixels
from studio.controls.edge_follow import along_edges, guided


def disc(size: int, x: float, y: float, radius: float) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    return ((columns - x) ** 2 + (rows - y) ** 2).sqrt() < radius


def scene() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A red disc and a red square on grey, 128 pixels; the disc's mask; a map of 8 tokens, blurred."""
    round_, square = disc(128, 40, 44, 27), torch.zeros(128, 128, dtype=torch.bool)
    square[90:118, 90:118] = True
    picture = torch.full((3, 128, 128), 0.5)
    picture[:, round_ | square] = torch.tensor([[0.8], [0.1], [0.1]])
    coarse = torch.nn.functional.avg_pool2d((round_ | square)[None, None].float(), 16)[0, 0]
    return picture, round_, torch.nn.functional.avg_pool2d(coarse[None, None], 3, 1, 1)[0, 0] + 0.1


def iou(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_the_edge_of_the_mask_is_that_of_the_picture() -> None:
    picture, truth, values = scene()
    cells = cut(values, "point", (0.31, 0.34))
    plain, followed = to_pixels(values, cells, 128, 128) > 0, along_edges(values, cells, picture) > 0
    assert iou(followed, truth) > 0.9 > iou(plain, truth)
    assert not followed[90:118, 90:118].any(), "the other piece looks alike and was not chosen"
    wide = torch.nn.functional.interpolate(picture[None], (128, 256), mode="nearest")[0]
    assert along_edges(values, cells, wide).shape == (128, 256)


def test_a_constant_map_stays_constant_and_a_flat_picture_only_blurs() -> None:
    picture, _, values = scene()
    assert torch.allclose(guided(torch.full((8, 8), 0.3), picture), torch.full((128, 128), 0.3), atol=1e-4)
    flat = guided(values, torch.full((3, 600, 300), 0.5))
    assert flat.shape == (600, 300) and values.min() < flat.min() < flat.max() < values.max()


def test_the_amount_is_otsus_in_the_middle_and_never_shrinks_when_raised() -> None:
    picture, _, values = scene()
    assert level(values) == level(values, 0.5) == otsu(values)
    before: torch.Tensor | None = None
    for amount in (0.0, 0.2, 0.45, 0.5, 0.55, 0.8, 1.0):
        cells = cut(values, "all", amount=amount)
        shape = to_pixels(values, cells, 128, 128, amount=amount) > 0
        assert cells.any() and shape.any() and (along_edges(values, cells, picture, amount) > 0).any()
        assert before is None or not (before & ~shape).any()
        before = shape if amount else None  # the very top is shown as whole tokens
    assert torch.equal(cut(values), cut(values, amount=0.5))


@pytest.mark.parametrize("amount", [0.0, 0.3, 0.5, 1.0])
def test_a_map_without_differences_has_nothing_to_cut(amount: float) -> None:
    from studio.errors import StudioError

    with pytest.raises(StudioError, match="same everywhere"):
        level(torch.ones(4, 4), amount)
