"""Weight files of strangers: safetensors alone, and only whole ones."""

from __future__ import annotations

import json
import pickle
import struct

import pytest
import torch
from safetensors.torch import save_file

from studio.errors import BadModel
from studio.models.weight_files import find_weights, read_header, read_json


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(4, dtype=torch.float16)}, path)
    return path


def write(path, header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def test_a_header_tells_dtypes_and_shapes(good):
    tensors = read_header(good)
    assert {name: (info.dtype, info.shape) for name, info in tensors.items()} == {
        "a": ("F32", (2, 3)),
        "b": ("F16", (4,)),
    }


@pytest.mark.parametrize("keep", [0, 5, 40, -1])
def test_a_file_cut_off_anywhere_is_refused(good, keep):
    good.write_bytes(good.read_bytes()[:keep])
    with pytest.raises(BadModel, match="damaged or cut off"):
        read_header(good)


def test_bytes_behind_the_last_tensor_are_refused(good):
    good.write_bytes(good.read_bytes() + b"more")
    with pytest.raises(BadModel, match="the file has"):
        read_header(good)


@pytest.mark.parametrize(
    "header",
    [
        b"{not json",
        b"{}",
        b"{\"a\":" * 5000,
        {"a": 3},
        {"a": {"dtype": "PICKLE", "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
        {
            "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        },
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, header):
    with pytest.raises(BadModel, match="damaged or cut off"):
        read_header(write(tmp_path / "x.safetensors", header, b"\0\0\0\0"))


@pytest.mark.parametrize(
    "data",
    [b"root:x:0:0:root:/root:/bin/bash\n" * 40, struct.pack("<Q", 4) + b"[1] ",
     b"\x89PNG\r\n\x1a\n" + bytes(900), struct.pack("<Q", 8) + b"not json"],
)  # fmt: skip
def test_a_file_of_another_sort_is_not_called_damaged(tmp_path, data):
    path = tmp_path / "passwd"
    path.write_bytes(data)
    with pytest.raises(BadModel, match="passwd is no safetensors file") as caught:
        read_header(path)
    assert "damaged" not in caught.value.message and caught.value.hint


def test_a_header_that_claims_a_huge_length_is_not_read(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(BadModel, match="claims"):
        read_header(path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt"])
def test_a_pickle_is_refused_unread_with_the_way_to_convert_it(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(BadModel, match="is a pickle") as caught:
        find_weights(tmp_path)
    assert "safe_serialization=True" in caught.value.hint


def test_a_missing_or_empty_component_is_called_incomplete(tmp_path):
    for folder in (tmp_path, tmp_path / "transformer"):
        with pytest.raises(BadModel, match="incomplete"):
            find_weights(folder)


def test_a_variant_is_taken_when_there_is_nothing_else(tmp_path, good):
    good.rename(tmp_path / "model.fp16.safetensors")
    assert find_weights(tmp_path).variant == "fp16"


def test_shards_are_all_checked(tmp_path, good):
    good.rename(tmp_path / "model-00001-of-00002.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}}))
    assert [path.name for path in find_weights(tmp_path).files] == ["model-00001-of-00002.safetensors"]
    index.write_text(json.dumps({"weight_map": {"a": "model-00002-of-00002.safetensors"}}))
    with pytest.raises(BadModel, match="is missing"):
        find_weights(tmp_path)
    index.write_text(json.dumps({"weight_map": {"a": "../../secret.safetensors"}}))
    with pytest.raises(BadModel, match="beside it"):
        find_weights(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "\ud800".encode("utf-16", "surrogatepass")])
def test_broken_json_of_a_model_folder_is_named(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadModel, match=r"config\.json"):
        read_json(path)
