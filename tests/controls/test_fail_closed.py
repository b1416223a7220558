"""A control that was planned at a site but could not act there is an error, whatever kept it away
(controls.md 3.6; T3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from diffusers import FirstBlockCacheConfig, TaylorSeerCacheConfig
from diffusers.hooks import LayerSkipConfig, apply_layer_skip
from diffusers.models.attention_dispatch import _AttentionBackendRegistry

from studio.controls.attach import ControlNotApplied, attach
from studio.errors import StudioError
from studio.models.family import adapter_for
from studio.models.flux2_attention import Flux2Attention
from studio.models.tiny import tiny_transformer
from tests.controls.attaching import (
    FAMILIES,
    ROLES,
    STEPS,
    Control,
    attached_to,
    call_of,
    looking,
    run,
    segment,
    state,
    step_of,
)

families = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(autouse=True)
def backend() -> Iterator[None]:
    """set_attention_backend also sets the default of the process."""
    before = _AttentionBackendRegistry._active_backend
    yield
    _AttentionBackendRegistry.set_active_backend(before)


@pytest.mark.filterwarnings("ignore:flex_attention called without")
@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "sd3"])
def test_another_attention_backend_is_an_error(family: str) -> None:
    network, call = tiny_transformer(family), call_of(family)
    before = state(network)
    joint = [site.name for site in adapter_for(network).sites(network) if site.joint]
    with attached_to(network, looking()) as attached, pytest.raises(ControlNotApplied) as missed:
        network.set_attention_backend("flex") if family != "z_image" else backend_of(network, "flex")
        step_of(attached, network, call)
    assert set(missed.value.sites) == set(joint)
    assert all(name in missed.value.message for name in joint[:6])
    assert state(network) == before


def backend_of(network: torch.nn.Module, name: str) -> None:
    from diffusers.models.attention_dispatch import AttentionBackendName

    for module in network.modules():
        if hasattr(module, "processor"):
            module.processor._attention_backend = AttentionBackendName(name)


CACHES = {
    "first block": FirstBlockCacheConfig(threshold=100.0),
    "taylorseer": TaylorSeerCacheConfig(cache_interval=3, disable_cache_before_step=1),
}


@pytest.mark.parametrize("config", CACHES.values(), ids=CACHES)
def test_step_caches_of_diffusers_are_an_error_where_they_skip(config: Any) -> None:
    network: Any = tiny_transformer("flux")
    call = call_of("flux")
    network.enable_cache(config)
    free, caught = 0, []
    with attached_to(network, looking(until=3)) as attached:
        for step in STEPS:
            with network.cache_context("cond"):
                try:
                    step_of(attached, network, call, step)
                    free += 1
                except ControlNotApplied as missed:
                    caught.append((step.index, missed.sites))
    assert caught and all(sites for _, sites in caught) and free >= 2
    # the last step has no control, and may be skipped
    assert caught[-1][0] < 3
    network.disable_cache()


def test_a_cache_that_skips_where_nobody_acts_is_no_error() -> None:
    network: Any = tiny_transformer("flux")
    network.enable_cache(CACHES["first block"])
    first = (adapter_for(network).sites(network)[0].name,)
    with attached_to(network, looking(sites=first)) as attached, network.cache_context("cond"):
        for step in STEPS:
            step_of(attached, network, call_of("flux"), step)
    network.disable_cache()


@pytest.mark.parametrize("late", [False, True])
def test_layer_skipping_is_an_error(late: bool) -> None:
    network, call = tiny_transformer("flux"), call_of("flux")
    config = LayerSkipConfig(indices=[1], fqn="transformer_blocks")
    if not late:
        apply_layer_skip(network, config)
    with attached_to(network, looking()) as attached, pytest.raises(ControlNotApplied) as missed:
        if late:
            apply_layer_skip(network, config)
        step_of(attached, network, call)
    assert missed.value.sites == ("transformer_blocks.1.attn",)


def test_keys_kept_from_an_earlier_call_are_an_error() -> None:
    """FLUX.2 klein keeps the keys of references: fewer queries than keys."""
    from diffusers.models.transformers.transformer_flux2 import (
        Flux2KVAttnProcessor,
        Flux2KVParallelSelfAttnProcessor,
    )

    network: Any = tiny_transformer("flux2")
    for block in network.transformer_blocks:
        block.attn.set_processor(Flux2KVAttnProcessor())
    for block in network.single_transformer_blocks:
        block.attn.set_processor(Flux2KVParallelSelfAttnProcessor())
    call = call_of("flux2")
    with torch.inference_mode():
        extracted = network(
            **{**call, "kv_cache_mode": "extract", "num_ref_tokens": 4, "ref_fixed_timestep": 0.0}
        )
    cached = {**call, "kv_cache": extracted.kv_cache, "kv_cache_mode": "cached"}
    with attached_to(network, looking()) as attached, pytest.raises(StudioError, match="key-value mode"):
        step_of(attached, network, cached)
    # nor would an adapter that does not know of it let the controls go unnoticed
    with (
        attach(network, (looking(),), Unaware(), steps=STEPS, roles=ROLES) as attached,
        pytest.raises(ControlNotApplied) as missed,
    ):
        step_of(attached, network, cached)
    assert len(missed.value.sites) == 4


class Unaware(Flux2Attention):
    def token_layout(self, transformer: Any, kwargs: Any, roles: Any, segments: Any) -> Any:
        return super().token_layout(transformer, {**kwargs, "kv_cache_mode": None}, roles, segments)


def test_a_network_that_is_not_called_is_an_error() -> None:
    network = tiny_transformer("sd3")
    with (
        attached_to(network, looking()) as attached,
        pytest.raises(ControlNotApplied, match="was not called"),
        attached.call(STEPS[0], ROLES),
    ):
        run(tiny_transformer("sd3"), call_of("sd3"))


def test_announced_skips_are_accepted_only_where_nobody_acts_now_or_when_it_was_recorded() -> None:
    network, call = tiny_transformer("flux"), call_of("flux")
    sites = adapter_for(network).sites(network)
    control = looking(sites=(sites[0].name, sites[2].name), until=2)
    with attached_to(network, control) as attached:
        with attached.call(STEPS[0], ROLES):
            assert not attached.skips(sites) and not attached.skips(sites[:1])
            assert attached.skips((sites[1], sites[3]))
            run(network, call)
        with attached.call(STEPS[2], ROLES):
            assert attached.skips(sites) and attached.skips(sites, recorded=STEPS[3])
            assert not attached.skips(sites, recorded=STEPS[1])
            assert attached.skips(sites[3:], recorded=STEPS[1])
            run(network, call)
        assert attached.report()["skipped"] == 2 + 4 + 4 + 1
        with pytest.raises(StudioError, match=r"outside of `attached.call`"):
            attached.skips(sites)


def test_hidden_prompts_are_a_reason_not_to_skip() -> None:
    network = tiny_transformer("sd3")
    longer = adapter_for(network).join_text(call_of("sd3"), [("a", segment("a").conditioning.embeds)])
    with (
        attached_to(network, Control(prompts=(segment("a"),), until=1)) as attached,
        attached.call(STEPS[0], ROLES, segments=(("a", 3),)),
    ):
        assert not attached.skips(attached.sites[1:])
        run(network, longer)
