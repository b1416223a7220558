"""Attaching to real networks of every family: nothing changes that should not, everything is as before
afterwards, and a control that could not act is an error (controls.md 3.5, 3.6; T1, T2, T3, T8, T12)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from diffusers import FirstBlockCacheConfig, TaylorSeerCacheConfig
from diffusers.hooks import HookRegistry, LayerSkipConfig, ModelHook, apply_layer_skip
from diffusers.models.attention_dispatch import _AttentionBackendRegistry

from studio.controls.attach import ControlNotApplied, attach
from studio.controls.control import AttentionControl, Call, Columns, Extension, Need, Probe, Write
from studio.errors import Cancelled, StudioError
from studio.models.family import adapter_for
from studio.models.flux2_attention import Flux2Attention
from studio.models.tiny import TEXT_WIDTH, tiny_transformer
from studio.values import Conditioning, Step
from tests.controls.attaching import (
    FAMILIES,
    ROLES,
    STEPS,
    TEXT,
    Control,
    attached_to,
    call_of,
    controlled,
    copying,
    draw,
    fingerprint,
    run,
    segment,
    state,
    step_of,
    whole,
)

families = pytest.mark.parametrize("family", FAMILIES)


def looking(**more: Any) -> Control:
    """Wants something of every joint site and changes nothing."""
    return Control("look", Need.AFTER, on_after=lambda *_: None, **more)


@pytest.fixture(autouse=True)
def backend() -> Iterator[None]:
    """set_attention_backend also sets the default of the process."""
    before = _AttentionBackendRegistry._active_backend
    yield
    _AttentionBackendRegistry.set_active_backend(before)


# Nothing changes, nothing stays behind (T1)


@families
@pytest.mark.parametrize("ragged", [False, True])
def test_controls_without_effect_change_no_bit_and_leave_nothing(family: str, ragged: bool) -> None:
    network = tiny_transformer(family)
    call = call_of(family, text=(TEXT, 3, 40) if ragged and family in ("qwen_image", "z_image") else ())
    before, plain = state(network), run(network, call)
    probe = Control("probe", Need.PROBE, on_probe=lambda c: (Probe((1, 2), ((1,), (2, 3))),))
    own = Control("own", Need.PASSES, on_passes=lambda c: ())
    same = Control("edit", Need.EDIT, written=copying().written, on_edit=lambda c: (c.q, c.k, c.v))
    for controls in (
        (),
        (Control(neutral=True, need=Need.EDIT),),
        (Control(),),
        (looking(everywhere=family != "z_image"),),
        (probe,),
        (Control("extend", Need.EXTEND, on_extend=lambda c: ()),),
        (own, Control("weigh", Need.COLUMNS, on_columns=lambda c: ())),
        (probe, looking(), same),
    ):
        assert torch.equal(controlled(network, call, *controls), plain)
        assert state(network) == before
    assert torch.equal(run(network, call), plain)


@families
def test_a_neutral_control_is_not_even_attached(family: str) -> None:
    network = tiny_transformer(family)
    before = state(network)
    with attached_to(network, Control(neutral=True, need=Need.EDIT)) as attached:
        assert state(network) == before and attached.segments(STEPS[0]) == ()
        assert attached.skips(attached.sites) and attached.maps.names() == ()
    with attached_to(network, looking()):
        assert state(network) != before


@families
@pytest.mark.parametrize("error", [RuntimeError("broken"), Cancelled()], ids=["error", "cancel"])
def test_all_is_as_before_after_an_exception_in_the_middle_of_a_call(family: str, error: Exception) -> None:
    network, call = tiny_transformer(family), call_of(family)
    last = [site.name for site in adapter_for(network).sites(network) if site.joint][-1]
    before, plain = state(network), run(network, call)

    def fail(c: Call) -> Any:
        raise error

    with pytest.raises(type(error)):
        controlled(
            network, call, Control("bad", Need.EDIT, sites=(last,), written=copying().written, on_edit=fail)
        )
    assert state(network) == before
    assert torch.equal(run(network, call), plain)
    # and again, with a control that works
    assert torch.equal(controlled(network, call, looking()), plain)


def test_a_call_may_go_on_after_an_exception_inside_the_block() -> None:
    network, call = tiny_transformer("sd3"), call_of("sd3")
    plain = run(network, call)
    with attached_to(network, looking()) as attached:
        with pytest.raises(RuntimeError), attached.call(STEPS[0], ROLES):
            raise RuntimeError("broken")
        assert torch.equal(step_of(attached, network, call), plain)


@families
def test_a_step_at_which_nobody_acts_goes_through_untouched(family: str) -> None:
    network, call = tiny_transformer(family), call_of(family)
    plain = run(network, call)
    with attached_to(network, copying(until=1)) as attached:
        assert not torch.equal(step_of(attached, network, call, STEPS[0]), plain)
        # no layout is asked for, nothing is caught
        attached._adapter = None  # type: ignore[assignment]
        with attached.call(STEPS[1], ROLES), pytest.raises(AttributeError):
            run(network, call)
    with attached_to(network, copying(until=1)) as attached:
        assert torch.equal(step_of(attached, network, call, STEPS[1]), plain)


def test_a_backend_set_before_is_put_aside_and_comes_back() -> None:
    network, call = tiny_transformer("flux"), call_of("flux")
    plain = run(network, call)
    network.set_attention_backend("flex")  # type: ignore[operator]
    before = state(network)
    assert torch.equal(controlled(network, call, looking()), plain)
    assert state(network) == before
    assert network.transformer_blocks[0].attn.processor._attention_backend == "flex"  # type: ignore[index, union-attr]


# Other people's hooks (T2)


class Adding(ModelHook):  # type: ignore[misc]
    """Adds a number to the first output, and counts."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number, self.calls = number, 0

    def new_forward(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        output = self.fn_ref.original_forward(*args, **kwargs)
        return (output[0] + self.number, *output[1:]) if isinstance(output, tuple) else output + self.number


def hook(network: torch.nn.Module, name: str, number: float) -> tuple[HookRegistry, Adding]:
    module = network.get_submodule(next(s.name for s in adapter_for(network).sites(network) if s.joint))
    registry = HookRegistry.check_if_exists_or_initialize(module)
    adding = Adding(number)
    registry.register_hook(adding, name)
    return registry, adding


@families
def test_a_foreign_hook_from_before_keeps_working(family: str) -> None:
    network, call = tiny_transformer(family), call_of(family)
    plain = run(network, call)
    _, adding = hook(network, "foreign", 0.5)
    before, changed = state(network), run(network, call)
    assert not torch.equal(changed, plain)
    assert torch.equal(controlled(network, call, looking()), changed)
    assert state(network) == before
    assert torch.equal(run(network, call), changed) and adding.calls == 3


@families
def test_a_foreign_hook_from_in_between_is_complained_of_and_keeps_working(family: str) -> None:
    network, call = tiny_transformer(family), call_of(family)
    plain = run(network, call)
    hook(network, "first", 0.5)
    with_first = run(network, call)
    complaint = pytest.raises(StudioError, match=r"later.*were put on the network after")
    with complaint, attached_to(network, looking()) as attached:
        registry, adding = hook(network, "later", 0.25)
        with_both = step_of(attached, network, call)
    assert registry._hook_order == ["first", "later"] and not torch.equal(with_both, with_first)
    assert torch.equal(run(network, call), with_both) and adding.calls == 2
    registry.remove_hook("later")
    assert torch.equal(run(network, call), with_first)
    registry.remove_hook("first")
    assert torch.equal(run(network, call), plain)


def test_a_foreign_hook_that_came_and_went_is_no_reason_to_complain() -> None:
    network, call = tiny_transformer("flux"), call_of("flux")
    before, plain = state(network), run(network, call)
    with attached_to(network, looking()) as attached:
        registry, _ = hook(network, "guest", 0.5)
        step_of(attached, network, call)
        registry.remove_hook("guest")
        assert torch.equal(step_of(attached, network, call), plain)
    assert state(network) == before


def test_the_error_of_the_block_is_not_hidden_by_the_complaint() -> None:
    network = tiny_transformer("sd3")
    with pytest.raises(RuntimeError, match="of the block"), attached_to(network, looking()):
        hook(network, "later", 0.5)
        raise RuntimeError("of the block")


# Controls that cannot act (T3)


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


# The scope of a call


def test_a_call_outside_of_its_scope_or_with_other_prompts_is_refused() -> None:
    network, call = tiny_transformer("sd3"), call_of("sd3")
    with attached_to(network, Control(prompts=(segment("test/a"),), until=1)) as attached:
        with pytest.raises(StudioError, match=r"outside of `attached.call`"):
            run(network, call)
        short = pytest.raises(StudioError, match=r"needs the appended prompts \['test/a'\]")
        with short, attached.call(STEPS[0], ROLES):
            run(network, call)
        few = pytest.raises(StudioError, match="3 rows, but 2 roles")
        with few, attached.call(STEPS[0], ROLES[:2], segments=(("test/a", 3),)):
            run(network, call)
        inside = pytest.raises(StudioError, match="inside another")
        with inside, attached.call(STEPS[1], ROLES), attached.call(STEPS[1], ROLES):
            pass
        step_of(attached, network, call)


def test_positional_arguments_are_understood() -> None:
    network, call = tiny_transformer("sd3"), call_of("sd3")
    names = ("hidden_states", "encoder_hidden_states", "pooled_projections", "timestep")
    wanted = controlled(network, call, copying())
    with attached_to(network, copying()) as attached, attached.call(STEPS[0], ROLES), torch.inference_mode():
        assert torch.equal(network(*(call[name] for name in names), return_dict=False)[0], wanted)


def test_one_run_at_a_time() -> None:
    network, call = tiny_transformer("sd3"), call_of("sd3")
    order: list[str] = []
    errors: list[BaseException] = []

    def other() -> None:
        with attached_to(network, looking()) as attached:
            order.append("second")
            step_of(attached, network, call)

    def stranger() -> None:
        try:
            run(network, call)
        except StudioError as error:
            errors.append(error)

    with attached_to(network, looking()) as attached:
        already = pytest.raises(StudioError, match="attached to this network already")
        with already, attached_to(network, looking()):
            pass
        with attached.call(STEPS[0], ROLES):
            thread = threading.Thread(target=stranger)
            thread.start()
            thread.join()
            run(network, call)
        waiting = threading.Thread(target=other)
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        order.append("first")
    waiting.join(20)
    assert order == ["first", "second"]
    assert [str(error).partition(",")[0] for error in errors] == ["The network is used by another run"]
    # another network is free
    with attached_to(network, looking()), attached_to(tiny_transformer("flux"), looking()):
        pass


# What controls do, on every family


@families
def test_an_edit_changes_its_row_alone_and_equal_rows_stay_equal(family: str) -> None:
    network = tiny_transformer(family)
    call = call_of(family)
    plain, out = run(network, call), controlled(network, call, copying())
    assert torch.equal(out[:2], plain[:2]) and not torch.allclose(out[2], plain[2], atol=1e-4)
    call = call_of(family, same=True)
    plain, out = run(network, call), controlled(network, call, copying("qkv"), copying("v", "text", who="b"))
    assert torch.equal(out, plain) and torch.equal(out[1], out[2])


@families
@pytest.mark.parametrize("split", [False, True])
def test_rows_owned_and_given_what_they_had_are_as_before(family: str, split: bool) -> None:
    network = tiny_transformer(family)
    call = call_of(family, text=(TEXT, 3, 40) if family in ("qwen_image", "z_image") else ())
    assert torch.allclose(controlled(network, call, whole(split=split)), run(network, call), atol=1e-5)


@families
@pytest.mark.parametrize("ragged", [False, True])
def test_prompts_that_nobody_asks_for_are_not_seen(family: str, ragged: bool) -> None:
    network = tiny_transformer(family)
    call = call_of(family, text=(TEXT, 3, 40) if ragged and family in ("qwen_image", "z_image") else ())
    prompts = (segment("a"), segment("b", 5, seed=31))
    out = controlled(network, call, Control(prompts=prompts))
    other = controlled(network, call, Control(prompts=(segment("a", seed=32), prompts[1])))
    assert torch.allclose(out, run(network, call), atol=1e-5)
    assert torch.equal(out, other)


@families
def test_outputs_can_be_read_and_replaced(family: str) -> None:
    network, call = tiny_transformer(family), call_of(family)
    plain = run(network, call)
    joint = [site.name for site in adapter_for(network).sites(network) if site.joint]
    shapes: list[tuple[Any, Any]] = []

    def read(c: Call, image: torch.Tensor, text: torch.Tensor | None, maps: Any) -> None:
        shapes.append((tuple(image.shape[:2]), None if text is None else tuple(text.shape[:2])))

    def moved(c: Call, image: torch.Tensor, text: torch.Tensor | None, maps: Any) -> Any:
        changed = image.clone()
        changed[2] = changed[2].roll(1, 0)
        return changed, text

    controlled(network, call, Control("read", Need.AFTER, on_after=read))
    image = 32 if family == "z_image" else 24
    text = 32 if family == "z_image" else TEXT
    assert [shape for shape, _ in shapes] == [(3, image)] * len(joint)
    assert {shape for _, shape in shapes} == ({(3, text), None} if family == "sd3" else {(3, text)})
    out = controlled(network, call, Control("moved", Need.AFTER, on_after=moved))
    assert torch.equal(out[:2], plain[:2]) and not torch.allclose(out[2], plain[2], atol=1e-3)
    # the next control sees what the first one returned
    twice = controlled(
        network, call, *(Control(who, Need.AFTER, on_after=moved, sites=joint[:1]) for who in "ab")
    )

    def again(c: Call, image: torch.Tensor, text: torch.Tensor | None, maps: Any) -> Any:
        return moved(c, moved(c, image, text, maps)[0], text, maps)

    both = Control("both", Need.AFTER, sites=joint[:1], on_after=again)
    assert torch.equal(twice, controlled(network, call, both))
    with pytest.raises(StudioError, match="'bad' returns an output of"):
        controlled(network, call, Control("bad", Need.AFTER, on_after=lambda c, i, t, m: (i[:, 1:], t)))


@families
def test_no_control_can_write_into_what_the_network_holds(family: str) -> None:
    """T12: everything at once; q, k and v that each control sees are the same bytes afterwards."""
    network, call = tiny_transformer(family), call_of(family)
    seen: list[tuple[Call, str]] = []

    def note(c: Call) -> None:
        seen.append((c, fingerprint(c.q, c.k, c.v)))

    def edit(c: Call) -> Any:
        note(c)
        return copying().edit(c)

    def extend(c: Call) -> Any:
        note(c)
        image = c.layout.span("image")
        return (Extension("ref", (2,), c.k[1:2, :, image], c.v[1:2, :, image]),)

    def columns(c: Call) -> Any:
        note(c)
        return (Columns((2,), (1,), 3.0), Columns((1,), (2,), 3.0, scale=False))

    def probe(c: Call) -> Any:
        note(c)
        return (Probe((2,), ((1,),), before=False),)

    inputs = [value for value in call.values() if isinstance(value, torch.Tensor)]
    before = fingerprint(*inputs)
    with attached_to(
        network,
        Control("edit", Need.EDIT, written=(Write("target", "image", "qk"),), on_edit=edit),
        Control("edit2", Need.EDIT, written=(Write("target", "text", "v"),), on_edit=edit),
        Control("extend", Need.EXTEND, on_extend=extend, prompts=(segment("a"),)),
        Control("columns", Need.COLUMNS, on_columns=columns),
        Control("probe", Need.PROBE, on_probe=probe),
        whole(("source",)),
    ) as attached:
        step_of(attached, network, call)
    sites = [site for site in attached.sites if site.joint]
    assert len(seen) == 5 * len(sites)
    assert all(fingerprint(c.q, c.k, c.v) == digest for c, digest in seen)
    assert fingerprint(*inputs) == before


@families
def test_maps_and_the_report_tell_what_happened(family: str) -> None:
    network, call = tiny_transformer(family), call_of(family)
    probe = Control(
        "words", Need.PROBE, until=2, keeps=True, words=("star", "rest"),
        on_probe=lambda c: (Probe(c.layout.rows("target"), ((1,), (0, 2, 3, 4, 5, 6))),),
    )  # fmt: skip
    with attached_to(network, probe, copying(until=1)) as attached:
        for step in STEPS[:3]:
            step_of(attached, network, call, step)
    joint = sum(site.joint for site in attached.sites)
    seen = attached.seen()
    mean, *single = seen
    assert (mean.name, mean.role, mean.step) == ("words", "target", -1) and len(single) == 2 * joint
    assert mean.values.shape == (1, 4, 6, 2) and mean.labels == ("star", "rest")
    assert torch.allclose(mean.values, torch.stack([one.values for one in single]).mean(0), atol=1e-6)
    assert float(mean.values.min()) > 0 and float(mean.values.sum(-1).max()) < 1
    assert json.loads(json.dumps(attached.report())) == {
        "forwards": 3,
        "sites": len(attached.sites),
        "skipped": 0,
        "controls": [
            {"name": "words", "technique": "", "sites": joint, "steps": 2},
            {"name": "edit", "technique": "", "sites": joint, "steps": 1},
        ],
    }


# Rows of several pictures and calls (T8)


def test_sd3_one_batch_of_two_pictures_with_their_negative_rows() -> None:
    """Rows negative then positive, inside a row trajectory by trajectory, then picture by picture."""
    network = tiny_transformer("sd3")
    roles = tuple(
        f"{role}:{k}" for role in ("source.uncond", "target.uncond", "source", "target") for k in (0, 1)
    )
    call = call_of("sd3", rows=8)
    plain, out = run(network, call), controlled(network, call, copying("qk"), roles=roles)
    assert torch.equal(out[:6], plain[:6])
    assert all(not torch.allclose(out[row], plain[row], atol=1e-4) for row in (6, 7))
    # picture 0 and picture 1 each follow their own source
    pairs = {name: value[[4, 6, 5, 7]] for name, value in call.items()}
    order = ("source:0", "target:0", "source:1", "target:1")
    assert torch.allclose(
        controlled(network, pairs, copying("qk"), roles=order), out[[4, 6, 5, 7]], atol=1e-5
    )
    probe = Control("words", Need.PROBE, on_probe=lambda c: (Probe(c.layout.rows("target"), ((1,),)),))
    with attached_to(network, probe, roles=roles) as attached:
        step_of(attached, network, call, roles=roles)
    (seen,) = attached.seen()
    assert seen.values.shape[0] == 2 and not torch.equal(seen.values[0], seen.values[1])


def rows_of(call: dict[str, Any], rows: slice) -> dict[str, Any]:
    shared = ("img_ids", "txt_ids")
    return {name: value if name in shared else value[rows] for name, value in call.items()}


@families
def test_rows_may_come_in_calls_of_their_own_and_the_negative_ones_may_stop(family: str) -> None:
    network = tiny_transformer(family)
    call = call_of(family)
    together = controlled(network, call, copying(), looking())
    with attached_to(network, copying(), looking()) as attached:
        negative = step_of(attached, network, rows_of(call, slice(0, 1)), STEPS[0], ROLES[:1])
        positive = step_of(attached, network, rows_of(call, slice(1, 3)), STEPS[0], ROLES[1:])
        assert torch.allclose(torch.cat([negative, positive]), together, atol=1e-5)
        step_of(attached, network, call, STEPS[1])
        stopped = step_of(attached, network, rows_of(call, slice(1, 3)), STEPS[2], ROLES[1:])
    assert torch.equal(stopped, positive)


def test_the_step_of_a_second_stage_reaches_the_controls() -> None:
    network, call = tiny_transformer("sd3"), call_of("sd3")
    met: list[Step] = []
    control = Control("look", Need.AFTER, on_after=lambda c, *_: met.append(c.step))
    with attached_to(network, control) as attached:
        step_of(attached, network, call, STEPS[1].at(0.61))
    assert set(met) == {STEPS[1].at(0.61)}


def test_layouts_stay_the_same_object_while_nothing_changes() -> None:
    network = tiny_transformer("qwen_image")
    met: list[Any] = []
    control = Control("look", Need.AFTER, on_after=lambda c, *_: met.append(c.layout))
    with attached_to(network, control) as attached:
        for text in ((7, 3, 5), (7, 3, 5), (7, 4, 5)):
            step_of(attached, network, call_of("qwen_image", text=text))
    assert [layout is met[0] for layout in met] == [True] * 4 + [False] * 2


def test_segments_of_another_family_width_are_refused() -> None:
    network = tiny_transformer("sd3")
    wrong = segment("a")
    wide = Conditioning("a", "tiny", draw(1, 3, TEXT_WIDTH + 1, seed=1))
    with pytest.raises(StudioError, match="channels"):
        controlled(network, call_of("sd3"), Control(prompts=(type(wrong)("a", wide),)))


def test_plan_time_conflicts_are_raised_before_anything_is_attached() -> None:
    network = tiny_transformer("sd3")
    before = state(network)
    controls: tuple[AttentionControl, ...] = (copying(), copying("k", who="other"))
    with pytest.raises(StudioError, match="'edit' and 'other' both write k"), attached_to(network, *controls):
        raise AssertionError("attached")
    assert state(network) == before
