"""Weight files: safetensors only, the header checked against the file before any tensor is read.

Format: https://huggingface.co/docs/safetensors, section "Format".
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from studio.errors import BadModel

STEMS = ("diffusion_pytorch_model", "model")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".msgpack", ".h5")
MAX_HEADER = 100_000_000
MAX_JSON = 20_000_000
ITEM_BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "F64": 64,
    "I64": 64,
    "U64": 64,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "C64": 64,
}
CONVERT = (
    "Convert it where you trust it: load it with diffusers and call "
    "pipeline.save_pretrained(folder, safe_serialization=True)."
)


@dataclass(frozen=True)
class TensorInfo:
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class WeightFiles:
    """The weight files of one component; `variant` is "" or a word such as fp16 inside the file names."""

    files: tuple[Path, ...]
    variant: str


def find_weights(folder: Path) -> WeightFiles:
    """The safetensors of a component folder, all headers checked; raises BadModel if missing, cut off or
    pickled."""
    if not folder.is_dir():
        raise BadModel(
            f"The model folder is incomplete: there is no folder {folder.name!r} in {folder.parent}.",
            hint="Download or copy the whole model again.",
        )
    names = sorted(entry.name for entry in folder.iterdir())
    for stem in STEMS:
        for variant in ("", *sorted(_variants(stem, names))):
            whole = f"{stem}{'.' * bool(variant)}{variant}.safetensors"
            index = f"{stem}.safetensors.index{'.' * bool(variant)}{variant}.json"
            if whole in names:
                found = WeightFiles((folder / whole,), variant)
            elif index in names:
                found = WeightFiles(_shards(folder / index), variant)
            else:
                continue
            for path in found.files:
                read_header(path)
            return found
    pickled = [name for name in names if name.endswith(PICKLES)]
    if pickled:
        raise BadModel(
            f"{folder / pickled[0]} is a pickle, which can run code when it is read; "
            "Weft reads safetensors only.",
            hint=CONVERT,
        )
    raise BadModel(
        f"The model folder is incomplete: no *.safetensors in {folder}.",
        hint="Download or copy the whole model again.",
    )


def check_safetensors(path: Path, example: str, convert: str = CONVERT) -> None:
    """Raise BadModel unless the file is there and no pickle, whatever its name says. `example`: what to give
    instead of a file that is not there; `convert`: what to do with a pickle."""
    if not path.is_file():
        raise BadModel(f"There is no file {str(path)!r}.", hint=example)
    with path.open("rb") as stream:
        start = stream.read(2)
    # zip files (torch.save since 1.6) and pickle protocols 2 to 5
    if path.suffix.lower() in PICKLES or start == b"PK" or start[:1] == b"\x80":
        raise BadModel(
            f"{path.name} is a pickle, which can run code when it is read; Weft reads safetensors only.",
            hint=convert,
        )


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Names, dtypes and shapes of the tensors; raises BadModel unless they fill the file exactly."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(8)
            if len(start) < 8:
                raise _damaged(path, f"it has {size} bytes")
            length = struct.unpack("<Q", start)[0]
            if length > min(size - 8, MAX_HEADER):
                if stream.read(1) != b"{":
                    raise _foreign(path)
                raise _damaged(path, f"its header claims {length:,} bytes, the file has {size:,}")
            text = stream.read(length)
            if text[:1] != b"{":
                raise _foreign(path)
    except OSError as error:
        raise BadModel(f"{path} cannot be read: {error.strerror or error}.") from error
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "its header is not JSON") from error
    if not isinstance(header, dict):
        raise _damaged(path, "its header is not an object")
    tensors: dict[str, TensorInfo] = {}
    spans: list[tuple[int, int]] = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        info, span = _tensor(path, name, entry)
        tensors[name] = info
        spans.append(span)
    end = 0
    for first, last in sorted(spans):
        if first != end:
            raise _damaged(path, "its tensors overlap or leave gaps")
        end = last
    if end != size - 8 - length:
        raise _damaged(path, f"its tensors need {8 + length + end:,} bytes, the file has {size:,}")
    if not tensors:
        raise _damaged(path, "it holds no tensor")
    return tensors


def read_json(path: Path) -> dict[str, object]:
    """A JSON object from a file of a model folder; raises BadModel."""
    try:
        if path.stat().st_size > MAX_JSON:
            raise BadModel(f"{path} has {path.stat().st_size:,} bytes; at most {MAX_JSON:,} are possible.")
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadModel(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise BadModel(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise BadModel(f"{path} is not a JSON object.")
    return value


def stamp(paths: Iterable[Path]) -> tuple[tuple[str, int, int, int], ...]:
    """Path, size, mtime_ns and inode of files: equal stamps mean unchanged files (E11)."""
    found = []
    for path in paths:
        state = os.stat(path)
        found.append((str(path), state.st_size, state.st_mtime_ns, state.st_ino))
    return tuple(found)


def _variants(stem: str, names: list[str]) -> set[str]:
    found = set()
    for name in names:
        if name.startswith(f"{stem}.safetensors.index.") and name.endswith(".json"):
            found.add(name[len(stem) + len(".safetensors.index.") : -len(".json")])
        elif name.startswith(f"{stem}.") and name.endswith(".safetensors"):
            found.add(name[len(stem) + 1 : -len(".safetensors")])
    return {variant for variant in found if variant and "." not in variant and "-of-" not in variant}


def _shards(index: Path) -> tuple[Path, ...]:
    table = read_json(index).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise BadModel(f"{index} lists no weight files.")
    shards = sorted({str(name) for name in table.values()})
    for name in shards:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise BadModel(f"{index} names {name!r}, which is not a safetensors file beside it.")
        if not (index.parent / name).is_file():
            raise BadModel(
                f"The model folder is incomplete: {index.parent / name} is missing.",
                hint="Download or copy the whole model again.",
            )
    return tuple(index.parent / name for name in shards)


def _tensor(path: Path, name: str, entry: object) -> tuple[TensorInfo, tuple[int, int]]:
    if not isinstance(entry, dict):
        raise _damaged(path, f"tensor {name!r} has no description")
    dtype, shape, span = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if dtype not in ITEM_BITS:
        raise _damaged(path, f"tensor {name!r} has the unknown type {dtype!r}")
    if not (isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)):
        raise _damaged(path, f"tensor {name!r} has the shape {shape!r}")
    if not (
        isinstance(span, list)
        and len(span) == 2
        and all(type(n) is int for n in span)
        and 0 <= span[0] <= span[1]
    ):
        raise _damaged(path, f"tensor {name!r} lies at {span!r}")
    if math.prod(shape) * ITEM_BITS[dtype] != (span[1] - span[0]) * 8:
        raise _damaged(
            path, f"tensor {name!r} of shape {shape} does not fill its {span[1] - span[0]:,} bytes"
        )
    return TensorInfo(dtype, tuple(shape)), (span[0], span[1])


def _foreign(path: Path) -> BadModel:
    return BadModel(
        f"{path} is no safetensors file: its header does not begin like one.",
        hint="Choose a *.safetensors file.",
    )


def _damaged(path: Path, what: str) -> BadModel:
    return BadModel(f"{path} is damaged or cut off: {what}.", hint="Download or copy it again.")
