"""Upscaler files: safetensors of the Real-ESRGAN family, read from the shapes alone; no pickle is opened.

Names as published: Real-ESRGAN's RRDBNet and SRVGGNetCompact, and the two older spellings of ESRGAN's RRDBNet
("RRDB_trunk..." and "model.1.sub..."). Whatever else a file holds is handed to spandrel, if it is installed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from studio.errors import BadModel
from studio.models.weight_files import check_safetensors, read_header
from studio.upscaling.networks import RRDBNet, SRVGGNetCompact

CONVERT = (
    "Convert it where you trust it: state = torch.load(file, weights_only=True), then "
    'safetensors.torch.save_file(state.get("params_ema", state.get("params", state)), "new.safetensors").'
)
WHOLE = "Download it again, or choose another file."
PREFIXES = ("params_ema.", "params.", "module.")
CHANNELS = 3
MOST_SCALE = 8

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Design:
    """What a file holds: the network's class and shape in words, how to make it, and the name in the file of
    each of its parameters."""

    title: str
    scale: int
    make: Callable[[], nn.Module]
    names: Mapping[str, str]


def read_network(path: Path) -> nn.Module:
    """The network of a file, fp32 on CPU, in eval mode; it has `scale`, `fold` (multiple of input pixels) and
    `reach` (see `networks`). Raises BadModel for a pickle, a damaged file or an unknown network."""
    design = read_design(path)
    if design is None:
        from studio.upscaling.others import read_other

        return read_other(path)
    network = blank(design)
    stored = load_file(path)
    try:
        network.load_state_dict({ours: stored[theirs].float() for ours, theirs in design.names.items()})
    except (RuntimeError, KeyError) as error:
        raise BadModel(
            f"{path.name} looks like {design.title}, but its tensors do not fit: {_first(error)}",
            hint="The file is of another network, or some of it is missing.",
        ) from error
    return network.eval().requires_grad_(False)


def blank(design: Design, device: str = "cpu") -> nn.Module:
    """The network without its weights; on "meta" it takes no memory. The global RNG stays as it is."""
    with torch.random.fork_rng(devices=[]), torch.device(device):
        return design.make()


def read_design(path: Path) -> Design | None:
    """What a file holds, from its header alone; None for a network that is not of the two classes."""
    check_file(path)
    shapes = {name: info.shape for name, info in read_header(path).items()}
    try:
        return design_of(shapes)
    except BadModel as error:
        raise BadModel(f"{path.name} cannot be used. {error.message}", hint=error.hint) from error


def check_file(path: Path) -> None:
    """Raise BadModel unless the file is there and no pickle, whatever its name says."""
    check_safetensors(path, "Give the path of a *.safetensors file, or embedded:scenes-upscale-x2.", CONVERT)


def design_of(shapes: Shapes) -> Design | None:
    """The network that tensors of these shapes make; None if they are no SRVGGNetCompact and no RRDBNet.

    Raises BadModel where it is one of them of a kind that Weft cannot run.
    """
    prefix = next((p for p in PREFIXES if any(name.startswith(p) for name in shapes)), "")
    own = {name.removeprefix(prefix): name for name in shapes if name.startswith(prefix)}
    if own and all(re.fullmatch(r"body\.\d+\.(weight|bias)", name) for name in own):
        return _compact({name: shapes[theirs] for name, theirs in own.items()}, own)
    names = {_modern(name, own): theirs for name, theirs in own.items()}
    if "conv_first.weight" in names and "body.0.rdb1.conv1.weight" in names:
        return _rrdb({name: shapes[theirs] for name, theirs in names.items()}, names)
    return None


def _compact(shapes: Shapes, names: Mapping[str, str]) -> Design:
    last = max(int(name.split(".")[1]) for name in shapes)
    first, end = shapes.get("body.0.weight", ()), shapes.get(f"body.{last}.weight", ())
    if len(first) != 4 or len(end) != 4 or last < 2:
        raise BadModel(
            "This is no SRVGGNetCompact: its first and last layers are no convolutions.", hint=WHOLE
        )
    if last % 2 or len(shapes.get("body.1.weight", ())) != 1:
        raise BadModel(
            "This SRVGGNetCompact has no PReLU weights, and nothing in it says which activation it has.",
            hint="Possible are files with PReLU, the published kind.",
        )
    width, channels = first[:2]
    scale = math.isqrt(end[0] // channels) if channels else 0
    if channels * scale**2 != end[0] or not 1 <= scale <= MOST_SCALE:
        raise BadModel(
            f"This SRVGGNetCompact makes {end[0]} channels of {channels}, which is no whole scale.",
            hint=WHOLE,
        )
    _check_channels(channels)
    depth = (last - 2) // 2
    return Design(
        f"SRVGGNetCompact x{scale}, width {width}, depth {depth}",
        scale,
        lambda: SRVGGNetCompact(channels, width, depth, scale),
        names,
    )


def _rrdb(shapes: Shapes, names: Mapping[str, str]) -> Design:
    first, last = shapes["conv_first.weight"], shapes.get("conv_last.weight", ())
    growth = shapes["body.0.rdb1.conv1.weight"][0]
    if len(first) != 4 or len(last) != 4:
        raise BadModel("This is no RRDBNet: its first and last layers are no convolutions.", hint=WHOLE)
    width, channels = first[0], last[0]
    fold = math.isqrt(first[1] // channels) if channels else 0
    ups = sum(bool(re.fullmatch(r"conv_up\d+\.weight", name)) for name in shapes)
    depth = len({name.split(".")[1] for name in shapes if name.startswith("body.")})
    if channels * fold**2 != first[1] or not fold or 2**ups % fold:
        raise BadModel(
            f"This RRDBNet takes {first[1]} channels and doubles {ups} times, which is no whole scale.",
            hint=WHOLE,
        )
    _check_channels(channels)
    scale = 2**ups // fold
    return Design(
        f"RRDBNet x{scale}, width {width}, {depth} blocks",
        scale,
        lambda: RRDBNet(channels, width, growth, depth, ups, fold),
        names,
    )


def _check_channels(channels: int) -> None:
    if channels != CHANNELS:
        kind = "one channel, grey" if channels == 1 else f"{channels} channels"
        raise BadModel(
            f"This upscaler works on {kind}; Weft's pictures have {CHANNELS}: red, green and blue.",
            hint="Choose a network that was trained on coloured pictures.",
        )


def _modern(name: str, every: Mapping[str, str]) -> str:
    """A parameter's name in Real-ESRGAN's spelling; an unknown one is left as it is."""
    plain = {"trunk_conv": "conv_body", "upconv1": "conv_up1", "upconv2": "conv_up2", "HRconv": "conv_hr"}
    head, _, rest = name.partition(".")
    if head in plain:
        return f"{plain[head]}.{rest}"
    block = re.fullmatch(
        r"(?:RRDB_trunk|model\.1\.sub)\.(\d+)\.RDB(\d)\.conv(\d)(?:\.0)?\.(weight|bias)", name
    )
    if block:
        return "body.{}.rdb{}.conv{}.{}".format(*block.groups())
    if re.fullmatch(r"model\.1\.sub\.\d+\.(weight|bias)", name):
        return f"conv_body.{name.rpartition('.')[2]}"
    numbered = re.fullmatch(r"model\.(\d+)\.(weight|bias)", name)
    if numbered is None:
        return name
    order = sorted({int(n.split(".")[1]) for n in every if re.fullmatch(r"model\.\d+\.weight", n)})
    place, ups = order.index(int(numbered[1])) if int(numbered[1]) in order else -1, len(order) - 3
    called = {0: "conv_first", ups + 1: "conv_hr", ups + 2: "conv_last"}.get(place, f"conv_up{place}")
    return name if place < 0 or ups < 0 else f"{called}.{numbered[2]}"


def _first(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[1] if len(lines) > 1 else lines[0] if lines else type(error).__name__)[:200]
