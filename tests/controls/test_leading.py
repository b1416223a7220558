"""A control that means words of one prompt is refused in a run that another prompt leads, before any call of
the network (controls.md 3.4, rule 6)."""

from __future__ import annotations

import pytest
import torch

from studio.controls.attention_cut import AttentionCut
from studio.controls.blend import Blend
from studio.controls.control import AttentionControl
from studio.controls.inject_qk import InjectQK
from studio.controls.leading import MOST, parting, same
from studio.controls.regional import Regional, RegionText
from studio.controls.reweight import WordWeight
from studio.controls.share_kv import KeepLook
from studio.controls.text_layers import TextLayers
from studio.controls.word_looks import WordLooks
from studio.controls.word_maps import WordMaps
from studio.errors import StudioError
from studio.models.family import Parts
from studio.models.words import find_words, segment_conditioning
from studio.sampling.flow_edit import flow_edit
from studio.sampling.guidance.cfg import cfg
from studio.sampling.loop import sample_run
from studio.sampling.relay import Relay, relay_wrap
from studio.sampling.samplers import sampler
from studio.sampling.schedules import flow
from studio.sampling.tiled import tiles_wrap
from studio.values import Latent
from tests.controls.attaching import draw, state
from tests.controls.edit_runs import MODELS, NEW, OLD, parts_for, sampled, tensor, text
from tests.controls.region_help import LEFT


def of(parts: Parts, prompt: str) -> list[AttentionControl]:
    """Every control that means words of a prompt, made for this one."""
    star, source = (find_words(parts, prompt, "left"),), text(parts, OLD)
    return [
        WordWeight(((star[0], 2.0),), led_by=prompt),
        WordMaps(star, led_by=prompt),
        WordLooks(star, led_by=prompt),
        AttentionCut(star, led_by=prompt),
        InjectQK(source, 0.4, led_by=prompt),
        Blend(source, (), star, (0,), led_by=prompt),
        KeepLook(source, (0,), led_by=prompt),
        TextLayers(source, (0,), led_by=prompt),
    ]


@pytest.mark.parametrize("ref", MODELS)
def test_another_prompt_is_refused_before_the_network_is_called(ref: str, monkeypatch) -> None:
    parts, called = parts_for(ref), []
    before, forward = state(parts.transformer), type(parts.transformer).forward
    monkeypatch.setattr(
        type(parts.transformer), "forward", lambda *a, **k: called.append(1) or forward(*a, **k)
    )
    for control in of(parts, OLD):
        with pytest.raises(StudioError, match="made for the prompt 'a red star") as raised:
            sampled(parts, control, prompt=NEW)
        assert "led by 'a blue heart" in raised.value.message and raised.value.hint
        assert raised.value.socket == "attachments"
    assert not called and state(parts.transformer) == before
    for control in of(parts, NEW):
        sampled(parts, control, prompt=NEW.replace(" ", "  "), steps=4)
    assert called


def regions(parts: Parts, base: str) -> Regional:
    return Regional(base, (RegionText(LEFT, segment_conditioning(parts, LEFT.prompt)),))


def test_regions_go_with_their_base_prompt_or_with_an_edit_that_has_it() -> None:
    parts = parts_for("tiny:sd3")
    with pytest.raises(StudioError, match=r"[Rr]egions.* made for the prompt 'a red star"):
        sampled(parts, regions(parts, OLD), prompt=NEW)
    edit = InjectQK(text(parts, OLD), 0.4, led_by=NEW)
    for control in (regions(parts, OLD), regions(parts, NEW), regions(parts, " ")):
        sampled(parts, edit, control, prompt=NEW)
    with pytest.raises(StudioError, match="made for the prompt 'a green boat'"):
        sampled(parts, edit, regions(parts, "a green boat"), prompt=NEW)


def test_what_is_neutral_or_made_for_any_prompt_passes() -> None:
    parts = parts_for("tiny:sd3")
    star = find_words(parts, OLD, "star")
    plain = sampled(parts)
    for control in (WordWeight(((star, 1.0),), led_by=OLD), InjectQK(text(parts, OLD), 0.0, led_by=OLD)):
        assert torch.equal(tensor(sampled(parts, control)), tensor(plain))
    sampled(parts, WordWeight(((star, 2.0),)))


def weight(parts: Parts, prompt: str) -> WordWeight:
    return WordWeight(((find_words(parts, prompt, "left"), 2.0),), led_by=prompt)


def test_flow_edit_is_led_by_its_target() -> None:
    parts = parts_for("tiny:sd3")
    picture = Latent(64, 64, 1, 3).with_tensor(draw(1, 4, 8, 8, seed=1), "sd3")

    def edited(*controls: AttentionControl) -> object:
        prompts = (text(parts, words) for words in (OLD, NEW, ""))
        return flow_edit(parts, *prompts, picture, flow(4, 3.0), n_max=2, attachments=controls)

    edited(weight(parts, NEW), regions(parts, OLD))
    with pytest.raises(StudioError, match=r"Word weight.* made for the prompt 'a red star"):
        edited(weight(parts, OLD))


def test_every_part_of_a_relay_and_every_tile_is_asked() -> None:
    parts = parts_for("tiny:sd3")
    steps = flow(4, 3.0)

    def relayed(control: AttentionControl, **settings: object) -> object:
        relay = Relay(steps.values[2], positive=text(parts, NEW), **settings)
        return sample_run(
            parts, text(parts, OLD), text(parts, ""), Latent(64, 64, 1, 3), steps, sampler("euler"), cfg(3.0),
            wraps=[relay_wrap(relay)], attachments=[control], on_step=lambda result: seen.append(result),
        )  # fmt: skip

    seen: list[object] = []
    with pytest.raises(StudioError, match="made for the prompt 'a red star"):
        relayed(weight(parts, OLD))
    assert not seen
    relayed(weight(parts, OLD), keep=False, attachments=(weight(parts, NEW),))
    assert len(seen) == 4
    with pytest.raises(StudioError, match="made for the prompt 'a red star"):
        sample_run(
            parts, text(parts, NEW), text(parts, ""), Latent(128, 64, 1, 3), steps, sampler("euler"),
            cfg(3.0), wraps=[tiles_wrap(64, 16)], attachments=[weight(parts, OLD)],
        )  # fmt: skip


def test_long_prompts_are_shown_where_they_part() -> None:
    long = "a small house with a red roof and a garden full of flowers beside a river, " * 2
    one, other = parting(long + "at night", long + "in the morning, with fog")
    assert "at night" in one and "in the morning" in other and max(len(one), len(other)) <= MOST + 3
    assert parting("a red star", "a red  moon") == ("a red star", "a red moon")
    assert parting("", "a") == ("", "a") and same(" a\n b ") == "a b"
