"""The upscalers that there are: Pillow's resizing, a file of weights, the one that ships with Weft."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from torch import nn

from studio.errors import BadModel, StudioError, did_you_mean
from studio.models.embedded import FOLDER, PREFIX
from studio.models.weight_files import stamp
from studio.policy import Policy
from studio.upscaling.files import blank, read_design, read_network
from studio.values import Image, Upscale, Upscaler

DEFAULT = "embedded:scenes-upscale-x2"
WEIGHTS = "model.safetensors"
FILTERS = {
    "lanczos": Pillow.Resampling.LANCZOS,
    "area": Pillow.Resampling.BOX,
    "nearest": Pillow.Resampling.NEAREST,
}
# Beyond this reach tiles that know all of it would be larger than most pictures: seams are measured instead.
MOST_REACH = 48


def upscaler_of(ref: str, policy: Policy, device: str = "cpu") -> Upscaler:
    """The upscaler of a reference: lanczos, area, nearest, embedded:NAME, or the path of a safetensors file.

    Raises BadModel or Refused. Nothing is loaded but a header; `open` loads.
    """
    name = ref.strip()
    if name in FILTERS:
        return filter_upscaler(name)
    path = upscaler_file(name, policy)
    design = read_design(path)
    digest = _sha256(path)
    if design is None:
        network = read_network(path)
        title = f"{path.name} ({type(network).__name__})"
        return _of_file(path, title, network, digest, device)
    return _of_file(path, design.title, blank(design, "meta"), digest, device)


def seen_upscaler(ref: str, policy: Policy) -> Upscaler:
    """The same for who asks again and again: a file is hashed anew only when its stamp is another one."""
    name = ref.strip()
    if name in FILTERS:
        return filter_upscaler(name)
    path = upscaler_file(name, policy)
    return _seen(name, policy, stamp([path] if path.is_file() else []))


@lru_cache(maxsize=128)
def _seen(ref: str, policy: Policy, mark: object) -> Upscaler:
    return upscaler_of(ref, policy)


def upscaler_file(ref: str, policy: Policy) -> Path:
    """The file behind a reference that is no filter; raises BadModel or Refused."""
    if not ref or "\0" in ref:
        raise BadModel("No upscaler is named.", hint=f"Possible: {', '.join(FILTERS)}, {DEFAULT}, a path.")
    if ref.startswith(PREFIX):
        names = sorted(p.parent.name for p in FOLDER.glob(f"*/{WEIGHTS}"))
        name = ref.removeprefix(PREFIX)
        if name not in names:
            possible = ", ".join(PREFIX + n for n in names) or "none"
            hint = did_you_mean(name, names) or f"Possible: {possible}."
            raise BadModel(f"There is no embedded upscaler {name!r}.", hint=hint)
        return FOLDER / name / WEIGHTS
    if "/" not in ref and "\\" not in ref and "." not in ref:
        known = (*FILTERS, DEFAULT)
        hint = did_you_mean(ref, known) or f"Possible: {', '.join(known)}, or the path of a file."
        raise BadModel(f"There is no upscaler {ref!r}.", hint=hint)
    policy.check_path(socket="upscaler")
    return Path(ref).expanduser()


def filter_upscaler(name: str) -> Upscaler:
    """Resizing by Pillow as an upscaler; works on whole pictures."""

    def run(image: Image, scale: int, **_: object) -> Image:
        return filtered(image, image.width * scale, image.height * scale, name)

    @contextmanager
    def opened() -> Iterator[Upscale]:
        yield run

    return Upscaler(name, opened, tuple(range(2, 17)), tile=1 << 20, overlap=0, least=1, alpha=True)


def filtered(image: Image, width: int, height: int, how: str) -> Image:
    """The picture at another size by a filter of `FILTERS`, alpha too; the same size gives itself."""
    if how not in FILTERS:
        raise StudioError(f"No filter {how!r}.", hint=f"Possible: {', '.join(FILTERS)}.", socket="how")
    if width < 1 or height < 1:
        raise StudioError(f"A picture of {width}x{height} pixels is not possible.")
    if (image.width, image.height) == (width, height):
        return image
    return Image(np.asarray(Pillow.fromarray(image.pixels).resize((width, height), FILTERS[how])))


def network_upscaler(
    name: str, load: Callable[[], nn.Module], like: Any, device: str = "cpu", digest: str = ""
) -> Upscaler:
    """The upscaler of a network of `networks` or one that has the same attributes; `like` is one such,
    whatever its weights."""
    scale, reach = int(like.scale), int(like.reach)
    known = reach if reach <= MOST_REACH else 0

    @contextmanager
    def opened() -> Iterator[Upscale]:
        network = load().to(device)

        def run(image: Image, scale: int, **_: object) -> Image:
            return apply(network, image, device)

        yield run

    return Upscaler(
        name,
        opened,
        (scale,),
        tile=256,
        overlap=2 * known + 8 if known else 32,
        reach=known,
        multiple=int(like.fold),
        least=max(4, 2 * int(like.fold), int(getattr(like, "least", 1))),
        params=(("sha256", digest),),
    )


def apply(network: nn.Module, image: Image, device: str = "cpu") -> Image:
    """One picture, RGB, through a network; values are cut to 0..1 and rounded to 256 levels."""
    with torch.inference_mode():
        pixels = torch.tensor(image.pixels[..., :3]).permute(2, 0, 1)[None].to(device).float() / 255
        made = network(pixels)[0]
        if not bool(torch.isfinite(made).all()):
            raise StudioError(
                "The upscaler made values that are not finite numbers.", hint="Its file is damaged."
            )
        levels = made.clamp(0, 1).permute(1, 2, 0).mul(255).round().to("cpu", torch.uint8)
        array = levels.contiguous().numpy()
    array.flags.writeable = False
    return Image(array)


def _of_file(path: Path, title: str, like: nn.Module, digest: str, device: str) -> Upscaler:
    def load() -> nn.Module:
        if _sha256(path) != digest:
            raise BadModel(f"{path.name} has changed since it was chosen.", hint="Run the workflow again.")
        return read_network(path)

    called = path.parent.name if path.name == WEIGHTS else path.name
    return network_upscaler(f"{called} ({title})", load, like, device, digest)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
