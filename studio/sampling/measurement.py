"""What is known of a picture: y = A x, with A a blur, then a shrinking, then a mask (sampling.md 11.3).

The blur is a convolution whose border repeats the last pixels, the shrinking the mean over square blocks. All
of it acts on pixels and is differentiable, so that A' comes from autograd, through a decoder too.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image as Pillow
from torch.nn import functional

from studio.errors import StudioError
from studio.pixels import flatten
from studio.values import Image, Mask

BLURS = ("none", "gaussian", "disc", "motion")
MOST_RADIUS, MOST_SHRINK, MOST_KERNEL = 16.0, 16, 65
# Rounds of putting known means back: where a pixel is cut at black or white, its neighbours take its part.
ROUNDS = 8
Kernel = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Measurement:
    """`image` is y. `kernel`: of the blur, rows of weights that sum to 1, odd sides, () = none. `shrink`:
    side of the blocks, 1 = none. `known`: mask on the full size, 1 = known, None = all; a block counts as
    known if every pixel of it is."""

    image: Image
    kernel: Kernel = ()
    shrink: int = 1
    known: Mask | None = None

    def __post_init__(self) -> None:
        check_shrink(self.shrink)
        if self.image.has_alpha:
            object.__setattr__(self, "image", flatten(self.image))
        mask = self.known
        if mask is not None and (mask.width, mask.height) != (self.width, self.height):
            raise StudioError(
                f"The mask has {mask.width}x{mask.height} pixels, the picture {self.width}x{self.height}.",
                hint="The mask has the size of the picture that is sought.",
                socket="mask",
            )

    @property
    def width(self) -> int:
        """Of the picture that is sought, in pixels."""
        return self.image.width * self.shrink

    @property
    def height(self) -> int:
        """Of the picture that is sought, in pixels."""
        return self.image.height * self.shrink

    @property
    def neutral(self) -> bool:
        """Whether y is the picture itself."""
        return not self.kernel and self.shrink == 1 and self.known is None

    @property
    def kernel_name(self) -> str:
        """What tells its blur from others; "" without one."""
        return hashlib.sha256(repr(self.kernel).encode()).hexdigest()[:8] if self.kernel else ""

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """A x: picture, 3, height, width (0..1) to the same of y's size, 0 where nothing is known."""
        if self.kernel:
            pixels = blurred(pixels, self.kernel)
        if self.shrink > 1:
            pixels = functional.avg_pool2d(pixels, self.shrink)
        return pixels if self.known is None else pixels * self.weights().to(pixels)

    def weights(self) -> torch.Tensor:
        """What of y is known, 1, 1, height, width."""
        if self.known is None:
            return torch.ones(1, 1, self.image.height, self.image.width)
        mask = torch.tensor(self.known.values)[None, None]
        if self.shrink == 1:
            return mask
        return (functional.avg_pool2d(mask, self.shrink) > 1 - 1e-6).float()

    def wanted(self) -> torch.Tensor:
        """y as 1, 3, height, width, 0..1; 0 where nothing is known."""
        return tensor_of(self.image) * self.weights()

    def difference(self, image: Image) -> float:
        """The mean squared distance of a picture's measurement to y, over what is known; of values 0..1."""
        apart = (self(tensor_of(image)) - self.wanted()).square().sum()
        return float(apart / (3 * self.weights().sum()).clamp_min(1))

    def guess(self) -> Image:
        """A picture of the full size without any model: y enlarged by Lanczos, its unknown parts in the mean
        colour of the known ones."""
        large = self.image
        if self.shrink > 1:
            given = Pillow.fromarray(large.pixels)
            made = given.resize((self.width, self.height), Pillow.Resampling.LANCZOS)
            large = Image(np.array(made))
        if self.known is None:
            return large
        known = self.known.values[..., None]
        mean = (large.pixels * known).sum((0, 1)) / max(float(known.sum()), 1e-6)
        return _levels(known * large.pixels + (1 - known) * mean)

    def put_back(self, image: Image) -> Image:
        """The picture with what is known as it was: the pixels themselves, or the means of their blocks up to
        rounding. What was blurred stays: a blur cannot be put back exactly."""
        if (image.width, image.height) != (self.width, self.height):
            raise StudioError(
                f"The picture has {image.width}x{image.height} pixels; what is known is of one with "
                f"{self.width}x{self.height}.",
                socket="image",
            )
        if self.kernel:
            return image
        pixels = flatten(image).pixels.astype(np.float64)
        weights = self.weights()[0, 0].numpy().astype(np.float64)[..., None]
        side = self.shrink
        for _ in range(ROUNDS if side > 1 else 1):
            rows, columns = pixels.shape[0] // side, pixels.shape[1] // side
            means = pixels.reshape(rows, side, columns, side, 3).mean((1, 3))
            apart = weights * (self.image.pixels - means)
            if side > 1 and np.abs(apart).max() < 0.01:
                break
            pixels = (pixels + apart.repeat(side, 0).repeat(side, 1)).clip(0, 255)
        return _levels(pixels)


def degraded(image: Image, kernel: Kernel = (), shrink: int = 1, known: Mask | None = None) -> Image:
    """A x as a picture: blurred, shrunk, black where nothing is known. Its sides are multiples of
    `shrink`."""
    check_shrink(shrink)
    if image.width % shrink or image.height % shrink:
        raise StudioError(
            f"A picture of {image.width}x{image.height} pixels cannot be shrunk {shrink} times.",
            hint=f"Cut it to multiples of {shrink} first.",
            socket="shrink",
        )
    small = Image(np.zeros((image.height // shrink, image.width // shrink, 3), np.uint8))
    made = Measurement(small, kernel, shrink, known)(tensor_of(flatten(image)))
    return _levels(made[0].permute(1, 2, 0).numpy() * 255)


def blur_kernel(how: str, radius: float, angle: float = 0.0) -> Kernel:
    """Weights of a blur: "gaussian" of standard deviation `radius`, a "disc" of that radius (out of focus),
    or a "motion" over twice the radius along `angle` degrees, 0 = to the right, 90 = up. Radius 0 = none."""
    if how not in BLURS:
        raise StudioError(f"There is no blur {how!r}.", hint=f"Possible: {', '.join(BLURS)}.", socket="blur")
    if not (math.isfinite(radius) and 0 <= radius <= MOST_RADIUS):
        raise StudioError(
            f"A blur of {radius:g} pixels is not possible.",
            hint=f"Possible: 0 to {MOST_RADIUS:g}.",
            socket="radius",
        )
    if not math.isfinite(angle):
        raise StudioError(f"An angle of {angle} is not possible.", socket="angle", hint="Degrees.")
    if how == "none" or radius == 0:
        return ()
    reach = math.ceil(2 * radius if how == "gaussian" else radius)
    # four by four points a pixel: edges of disc and line are soft, not stairs
    fine = (np.arange((2 * reach + 1) * 4) + 0.5) / 4 - reach - 0.5
    x, y = fine[None], -fine[:, None]
    if how == "gaussian":
        weights = np.exp(-(x**2 + y**2) / (2 * radius**2))
    elif how == "disc":
        weights = (x**2 + y**2 <= radius**2).astype(np.float64)
    else:
        along = x * math.cos(math.radians(angle)) + y * math.sin(math.radians(angle))
        across = y * math.cos(math.radians(angle)) - x * math.sin(math.radians(angle))
        weights = ((np.abs(along) <= radius) & (np.abs(across) <= 0.5)).astype(np.float64)
    side = 2 * reach + 1
    return _kernel(weights.reshape(side, 4, side, 4).sum((1, 3)))


def kernel_of(image: Image) -> Kernel:
    """The kernel that a picture shows, bright = much: what a point becomes. Even sides get a dark row
    more."""
    grey = flatten(image).pixels.astype(np.float64).mean(2)
    if max(grey.shape) > MOST_KERNEL:
        raise StudioError(
            f"The picture of the blur has {image.width}x{image.height} pixels.",
            hint=f"At most {MOST_KERNEL} a side are possible: cut it to what is not black.",
            socket="kernel",
        )
    if not grey.any():
        raise StudioError("The picture of the blur is black.", hint="Draw it white.", socket="kernel")
    return _kernel(np.pad(grey, [(0, 1 - side % 2) for side in grey.shape]))


def check_shrink(shrink: int) -> None:
    """StudioError unless pictures can be shrunk so many times."""
    if type(shrink) is not int or not 1 <= shrink <= MOST_SHRINK:
        raise StudioError(
            f"{shrink} times smaller is not possible.", hint=f"Possible: 1 to {MOST_SHRINK}.", socket="shrink"
        )


def blurred(pixels: torch.Tensor, kernel: Kernel) -> torch.Tensor:
    """picture, channel, height, width convolved; the border repeats the last pixels."""
    weights = torch.tensor(kernel, dtype=pixels.dtype, device=pixels.device)
    down, across = weights.shape[0] // 2, weights.shape[1] // 2
    padded = functional.pad(pixels, (across, across, down, down), mode="replicate")
    # torch correlates: turned by half a circle it is the convolution
    turned = weights.flip(0, 1).expand(pixels.shape[1], 1, *weights.shape)
    return functional.conv2d(padded, turned, groups=pixels.shape[1])


def tensor_of(image: Image) -> torch.Tensor:
    """1, 3, height, width, 0..1; alpha is left out."""
    with torch.inference_mode(False):
        return torch.tensor(image.pixels[..., :3]).permute(2, 0, 1)[None].float() / 255


def _kernel(weights: npt.NDArray[np.float64]) -> Kernel:
    return tuple(tuple(float(value) for value in row) for row in weights / weights.sum())


def _levels(values: npt.NDArray[np.floating]) -> Image:
    return Image(np.rint(np.asarray(values).clip(0, 255)).astype(np.uint8))
