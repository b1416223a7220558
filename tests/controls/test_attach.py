"""Attaching to real networks of every family: nothing changes that should not, and everything is as before
afterwards, whatever other hooks there are (controls.md 3.5; T1, T2)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from diffusers.hooks import HookRegistry, ModelHook
from diffusers.models.attention_dispatch import _AttentionBackendRegistry

from studio.controls.control import AttentionControl, Call, Need, Probe
from studio.errors import Cancelled, StudioError
from studio.models.family import adapter_for
from studio.models.tiny import tiny_transformer
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


def test_plan_time_conflicts_are_raised_before_anything_is_attached() -> None:
    network = tiny_transformer("sd3")
    before = state(network)
    controls: tuple[AttentionControl, ...] = (copying(), copying("k", who="other"))
    meet = "'edit' and 'other' meet in blocks 0-1"
    with pytest.raises(StudioError, match=meet), attached_to(network, *controls):
        raise AssertionError("attached")
    assert state(network) == before
