"""The two networks of the Real-ESRGAN family, in plain torch, with the names of the published files.

SRVGGNetCompact and RRDBNet as in Real-ESRGAN (arXiv 2107.10833); RRDB itself is ESRGAN's (arXiv 1809.00219,
section 3.1): residual in residual dense blocks, both residuals scaled by 0.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

RESIDUAL = 0.2
SLOPE = 0.2


class SRVGGNetCompact(nn.Module):
    """Convolutions at the small size, one pixel shuffle at the end, the enlarged input added.

    pictures [n, channels, h, w] in 0..1 -> [n, channels, scale h, scale w]. `depth`: convolutions between
    first and last.
    """

    def __init__(self, channels: int, width: int, depth: int, scale: int) -> None:
        super().__init__()
        self.scale, self.fold = scale, 1
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, 1, 1), nn.PReLU(width)]
        for _ in range(depth):
            layers += [nn.Conv2d(width, width, 3, 1, 1), nn.PReLU(width)]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, channels * scale**2, 3, 1, 1))

    @property
    def reach(self) -> int:
        """Input pixels beyond an output pixel's own that it depends on."""
        return sum(isinstance(layer, nn.Conv2d) for layer in self.body)

    def forward(self, pictures: Tensor) -> Tensor:
        detail = functional.pixel_shuffle(self.body(pictures), self.scale)
        return detail + functional.interpolate(pictures, scale_factor=self.scale, mode="nearest")


class RRDBNet(nn.Module):
    """A trunk of `depth` RRDBs between two convolutions, then `ups` doublings by nearest pixels.

    The input is folded first: `fold` x `fold` pixels become channels, so that 2^ups / fold is the scale
    (x4: fold 1; x2: fold 2; x1: fold 4, with two doublings). h and w are multiples of `fold`.
    pictures [n, channels, h, w] in 0..1 -> [n, channels, scale h, scale w].
    """

    def __init__(
        self, channels: int, width: int, growth: int, depth: int, ups: int = 2, fold: int = 1
    ) -> None:
        super().__init__()
        self.fold, self.ups, self.scale = fold, ups, 2**ups // fold
        self.conv_first = nn.Conv2d(channels * fold**2, width, 3, 1, 1)
        self.body = nn.Sequential(*(_RRDB(width, growth) for _ in range(depth)))
        self.conv_body = nn.Conv2d(width, width, 3, 1, 1)
        for index in range(1, ups + 1):
            setattr(self, f"conv_up{index}", nn.Conv2d(width, width, 3, 1, 1))
        self.conv_hr = nn.Conv2d(width, width, 3, 1, 1)
        self.conv_last = nn.Conv2d(width, channels, 3, 1, 1)

    @property
    def reach(self) -> int:
        """Input pixels beyond an output pixel's own that it depends on, rounded up."""
        cells = 2 + 15 * len(self.body)
        # conv_up1 sees half cells, conv_up2 quarters, the last two convolutions what is left
        finer = sum(0.5**index for index in range(1, self.ups + 1)) + 2 * 0.5**self.ups
        return int(self.fold * (cells + finer)) + self.fold

    def forward(self, pictures: Tensor) -> Tensor:
        folded = functional.pixel_unshuffle(pictures, self.fold) if self.fold > 1 else pictures
        found = self.conv_first(folded)
        found = found + self.conv_body(self.body(found))
        for index in range(1, self.ups + 1):
            larger = functional.interpolate(found, scale_factor=2, mode="nearest")
            found = _leaky(getattr(self, f"conv_up{index}")(larger))
        result: Tensor = self.conv_last(_leaky(self.conv_hr(found)))
        return result


class _DenseBlock(nn.Module):
    """Five convolutions, each reading everything before it."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        for index in range(1, 6):
            out = width if index == 5 else growth
            setattr(self, f"conv{index}", nn.Conv2d(width + (index - 1) * growth, out, 3, 1, 1))

    def forward(self, found: Tensor) -> Tensor:
        read = found
        for index in range(1, 5):
            read = torch.cat([read, _leaky(getattr(self, f"conv{index}")(read))], 1)
        last: Tensor = getattr(self, "conv5")(read)  # noqa: B009 - named by number, as those before
        return found + RESIDUAL * last


class _RRDB(nn.Module):
    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (_DenseBlock(width, growth) for _ in range(3))

    def forward(self, found: Tensor) -> Tensor:
        result: Tensor = found + RESIDUAL * self.rdb3(self.rdb2(self.rdb1(found)))
        return result


def _leaky(tensor: Tensor) -> Tensor:
    return functional.leaky_relu(tensor, SLOPE)

