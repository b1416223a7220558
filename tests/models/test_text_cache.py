"""A prompt that was encoded before is not encoded again, and nobody can tell by the numbers."""

from __future__ import annotations

import copy
import shutil
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.graph.cache import Cache
from studio.graph.context import Context
from studio.graph.digest import Codecs
from studio.graph.disk_cache import DiskCache
from studio.graph.kept import Kept
from studio.models.codec import TensorCodec
from studio.models.family import parts_of
from studio.models.loading import ModelStore
from studio.models.text import encode_prompt
from studio.models.text_cache import key_of
from studio.models.tiny import save_tiny
from studio.models.words import segment_conditioning
from studio.nodes.prompt import encode_prompt as prompt_node
from studio.nodes.words import weighted_prompt
from studio.policy import Policy


@pytest.fixture(params=["sd3", "flux"])
def model(request, tmp_path):
    folder = save_tiny(request.param, tmp_path / request.param)
    return ModelStore(policy=Policy.local(), device="cpu").load(str(folder))


def opened(folder, owner="me", **limits):
    cache = Cache("disk", disk=DiskCache(folder / "cache", **limits))
    cache.codecs = Codecs([TensorCodec()])
    return Kept(cache, owner)


@contextmanager
def counted(parts):
    """How often any text encoder runs."""
    calls = []
    handles = [
        part.register_forward_pre_hook(lambda *_: calls.append(1))
        for name, part in parts.components.items()
        if name.startswith("text_encoder") and part is not None
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def equal(one, other):
    same_pooled = (one.pooled is None) == (other.pooled is None)
    assert one.text == other.text and one.family == other.family and same_pooled
    assert one.embeds.dtype == other.embeds.dtype
    return torch.equal(one.embeds, other.embeds) and (
        one.pooled is None or torch.equal(one.pooled, other.pooled)
    )


@pytest.mark.parametrize("text", ["a red star", "", "a zyxwv star " * 60, "ein großer 星 \N{SNOWFLAKE}"])
def test_what_is_found_is_what_encoding_gives_with_every_warning(model, tmp_path, text):
    parts = parts_of(model)
    fresh = encode_prompt(parts, text, "it")
    encode_prompt(parts, text, "it", opened(tmp_path))
    with counted(parts) as calls:
        found = encode_prompt(parts, text, "it", opened(tmp_path))
    assert not calls
    assert equal(found[0], fresh[0]) and found[1:] == fresh[1:]


def test_what_is_found_may_be_written_to_without_harm(model, tmp_path):
    parts, kept = parts_of(model), opened(tmp_path)
    fresh, _, _ = encode_prompt(parts, "a red star", "it")
    for _ in range(3):
        found, _, _ = encode_prompt(parts, "a red star", "it", kept)
        assert equal(found, fresh)
        found.embeds.zero_()


def test_nodes_find_each_others_texts(model, tmp_path):
    kept = opened(tmp_path)
    ctx = Context(kept=kept)
    plain = prompt_node(model, "a red star", ctx=ctx)
    parts = parts_of(model)
    with counted(parts) as calls:
        weighted = weighted_prompt(model, "a (red:1.4) star", ctx=ctx).conditioning
        segment_conditioning(parts, "a red star", kept=kept)
    assert not calls and equal(weighted, plain)


def test_another_owner_finds_nothing(model, tmp_path):
    parts = parts_of(model)
    encode_prompt(parts, "a red star", "it", opened(tmp_path))
    with counted(parts) as calls:
        encode_prompt(parts, "a red star", "it", opened(tmp_path, "somebody else"))
    assert calls


def test_two_networks_with_the_same_encoders_share_their_texts_and_changed_encoders_do_not(tmp_path):
    first = save_tiny("sd3", tmp_path / "first")
    other, changed = tmp_path / "other", tmp_path / "changed"
    for folder, part in ((other, "transformer"), (changed, "text_encoder_2")):
        shutil.copytree(first, folder)
        (file,) = (folder / part).glob("*.safetensors")
        save_file({name: t + 0.01 for name, t in load_file(file).items()}, file, {"format": "pt"})
    store = ModelStore(policy=Policy.local(), device="cpu")
    parts = [parts_of(store.load(str(folder))) for folder in (first, other, changed)]
    kept = opened(tmp_path)
    encode_prompt(parts[0], "a red star", "it", kept)
    with counted(parts[1]) as calls:
        found, _, _ = encode_prompt(parts[1], "a red star", "it", kept)
    assert not calls and equal(found, encode_prompt(parts[1], "a red star", "it")[0])
    again, _, _ = encode_prompt(parts[2], "a red star", "it", kept)
    assert equal(again, encode_prompt(parts[2], "a red star", "it")[0]) and not equal(again, found)


def test_length_type_and_threads_are_in_the_key(tmp_path):
    folder = save_tiny("sd3", tmp_path / "a")
    store = ModelStore(policy=Policy.local(), device="cpu")
    parts = parts_of(store.load(str(folder)))
    keys = {key_of(parts, "a"), key_of(parts, "b")}
    t5 = parts_of(ModelStore(device="cpu").load("tiny:flux"))
    keys.add(key_of(replace(t5, card={**t5.card, "max_sequence_length": 9}), "a"))
    keys.add(key_of(replace(t5, card={**t5.card, "max_sequence_length": 8}), "a"))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        keys.add(key_of(parts, "a"))
    finally:
        torch.set_num_threads(threads)
    assert len(keys) == 5 and None not in keys


def test_an_encoder_that_somebody_changed_is_not_cached(model, tmp_path):
    parts = parts_of(model)
    name = next(name for name in parts.components if name.startswith("text_encoder"))
    mine = replace(parts, components={**parts.components, name: copy.deepcopy(parts.components[name])})
    assert key_of(parts, "a") is not None and key_of(mine, "a") is None


def test_a_small_disk_forgets_the_oldest_and_encodes_again(model, tmp_path):
    parts = parts_of(model)
    for text in ("one", "two", "three", "four"):
        encode_prompt(parts, text, "it", opened(tmp_path, limit_bytes=40_000))
    fresh = encode_prompt(parts, "one", "it")[0]
    assert equal(encode_prompt(parts, "one", "it", opened(tmp_path, limit_bytes=40_000))[0], fresh)
