"""The laws of attention control on the models that ship, small canvases and few steps: the tiny networks show
the same laws block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from studio.controls.attention_cut import AttentionCut
from studio.controls.blend import Blend
from studio.controls.concepts import make_concepts
from studio.controls.control import AttentionControl, Call, Need
from studio.controls.estimates import Estimates
from studio.controls.four_block import FourBlock
from studio.controls.inject_qk import InjectQK
from studio.controls.negative import Nag
from studio.controls.region_maps import RegionMaps, RegionWord
from studio.controls.regional import OPEN, STRICT, RegionText
from studio.controls.reweight import WordWeight
from studio.controls.share_kv import KeepLook
from studio.controls.text_layers import TextLayers
from studio.controls.word_looks import WordLooks
from studio.controls.word_maps import WordMaps
from studio.models.embedded import list_embedded
from studio.models.family import Parts, adapter_for
from studio.models.words import find_words, segment_conditioning
from studio.sampling.guidance.cfg import cfg
from studio.sampling.loop import Run, sample_run
from studio.sampling.samplers import sampler
from studio.sampling.schedules import flow, from_strength
from studio.values import Latent, Region
from tests.controls.attaching import Control, state
from tests.controls.edit_runs import NEW, OLD, parts_for, sampled, tensor, text
from tests.controls.region_help import LEFT, RIGHT, Forced, Regional

HERE = {model.ref for model in list_embedded()}
REFS = ("embedded:scenes-sd3", "embedded:scenes-flux")
STEPS = 3
# rows that go through one kernel with more or fewer others differ in the last bits, enlarged over the steps
NEAR = 1e-4


@pytest.fixture(params=REFS)
def parts(request: pytest.FixtureRequest) -> Parts:
    if request.param not in HERE:
        pytest.skip(f"{request.param} is not here")
    return parts_for(request.param)


def run(parts: Parts, *controls: AttentionControl, **more: Any) -> Run:
    return sampled(parts, *controls, **{"steps": STEPS, **more})


def regions(parts: Parts, kind: type[Regional] = Regional, **settings: Any) -> Regional:
    texts = tuple(RegionText(r, segment_conditioning(parts, r.prompt)) for r in (LEFT, RIGHT))
    return kind(NEW, texts, **settings)


def everywhere(parts: Parts) -> tuple[RegionText, ...]:
    return (RegionText(Region("all", NEW, (0.0, 0.0, 1.0, 1.0)), segment_conditioning(parts, NEW)),)


def word(parts: Parts, name: str = "heart", prompt: str = NEW) -> Any:
    return find_words(parts, prompt, name)


def together(parts: Parts) -> list[AttentionControl]:
    return [
        InjectQK(text(parts, OLD), tau=0.7),
        Blend(text(parts, OLD), (word(parts, "star", OLD),), (word(parts),), (0, 2), eta=0.7),
        regions(parts),
        WordWeight(((word(parts), 1.5),)),
        Nag(segment_conditioning(parts, "red")),
    ]


NEUTRAL: dict[str, Callable[[Parts], AttentionControl]] = {
    "edit": lambda parts: InjectQK(text(parts, OLD), tau=0.0),
    "regions": lambda parts: Regional(NEW, everywhere(parts)),
    "weight": lambda parts: WordWeight(((word(parts), 1.0),)),
    "scale": lambda parts: Nag(segment_conditioning(parts, "red"), scale=1.0),
    "alpha": lambda parts: Nag(segment_conditioning(parts, "red"), alpha=0.0),
    "layers": lambda parts: TextLayers(text(parts, OLD), ()),
}
LOOKING: dict[str, Callable[[Parts], AttentionControl]] = {
    "words": lambda parts: WordMaps((word(parts),)),
    "both ways": lambda parts: WordLooks((word(parts),)),
    "cut": lambda parts: AttentionCut((word(parts),)),
    "blocks": lambda parts: FourBlock(),
    "estimates": lambda parts: Estimates(2),
}


@pytest.mark.parametrize("names", [*((name,) for name in NEUTRAL), tuple(n for n in NEUTRAL if n != "alpha")])
def test_neutral_settings_are_the_plain_run_bit_by_bit(parts: Parts, names: Sequence[str]) -> None:
    made = run(parts, *(NEUTRAL[name](parts) for name in names))
    assert torch.equal(tensor(made), tensor(run(parts)))


def test_neutral_settings_on_the_general_path_are_the_plain_run(parts: Parts) -> None:
    class General(Nag):
        def is_neutral(self) -> bool:
            return False

    plain = tensor(run(parts))
    for control in (
        General(segment_conditioning(parts, "red"), scale=1.0),
        Forced(NEW, everywhere(parts), mode=STRICT, base_ratio=1.0),
    ):
        assert (tensor(run(parts, control)) - plain).abs().max() <= 1e-5


def test_equal_prompts_give_the_source_bit_by_bit(parts: Parts) -> None:
    plain = tensor(run(parts))
    for control in (InjectQK(text(parts, NEW), tau=1.0), KeepLook(text(parts, NEW), (0, 1, 2), 0.0, 1.0)):
        made = run(parts, control)
        assert torch.equal(tensor(made), tensor(made, "source"))
        assert (tensor(made, "source") - plain).abs().max() <= NEAR


def test_the_source_of_an_edit_is_the_run_of_its_own_prompt(parts: Parts) -> None:
    made = run(parts, *together(parts)[:2])
    assert (tensor(made, "source") - tensor(run(parts, prompt=OLD))).abs().max() <= NEAR
    assert (tensor(made) - tensor(run(parts))).abs().max() > 0.1


def off(one: torch.Tensor, other: torch.Tensor) -> float:
    """How far two latents are apart, as a share of their size."""
    return float((one - other).norm() / other.norm())


def halves(parts: Parts, *order: Region, **settings: Any) -> Regional:
    texts = tuple(RegionText(r, segment_conditioning(parts, r.prompt)) for r in order)
    return Regional(NEW, texts, **settings)


@pytest.mark.parametrize("steps", [1, STEPS])
def test_strict_regions_leave_each_other_bit_equal_with_guidance_too(parts: Parts, steps: int) -> None:
    """One forward, as asked, and a run: the words of one region change."""
    said = [
        halves(parts, LEFT, replace(RIGHT, prompt=words), mode=STRICT, base_ratio=0.0)
        for words in ("a blue ring", "a green boat")
    ]
    one, other = (tensor(run(parts, control, steps=steps)) for control in said)
    half = one.shape[-1] // 2
    assert torch.equal(one[..., :half], other[..., :half])
    assert (one[..., half:] - other[..., half:]).abs().max() > 0.1


@pytest.mark.parametrize("mode", [OPEN, STRICT])
def test_one_forward_hears_neither_the_order_of_regions_nor_the_batch(parts: Parts, mode: str) -> None:
    """Up to the order of sums, 5e-6 of the size of the answer; docs/controls.md, "How exact"."""
    made = tensor(run(parts, halves(parts, LEFT, RIGHT, mode=mode), steps=1))
    assert off(tensor(run(parts, halves(parts, RIGHT, LEFT, mode=mode), steps=1)), made) <= 5e-6
    pair = tensor(run(parts, halves(parts, LEFT, RIGHT, mode=mode), steps=1, batch=2))
    assert off(pair[:1], made) <= 5e-6
    assert off(pair[1:], made) > 0.1


@pytest.mark.parametrize("name", LOOKING)
def test_looking_leaves_every_bit(parts: Parts, name: str) -> None:
    made = run(parts, LOOKING[name](parts))
    assert torch.equal(tensor(made), tensor(run(parts)))
    assert made.seen.maps or made.seen.estimates


def test_looking_at_regions_leaves_every_bit_and_concepts_a_hundred_thousandth(parts: Parts) -> None:
    asked = regions(parts)
    reader = RegionMaps(asked, (RegionWord("left: star", 0, "text/seg:regions.0", (1,)),))
    assert torch.equal(tensor(run(parts, asked)), tensor(run(parts, asked, reader)))
    watched = make_concepts([segment_conditioning(parts, name) for name in ("heart", "night")])
    assert (tensor(run(parts)) - tensor(run(parts, watched))).abs().max() <= 1e-5


def test_edit_blend_regions_weight_and_avoiding_in_one_run_of_two_pictures(parts: Parts) -> None:
    controls = together(parts)
    made, plain = run(parts, *controls, batch=2), tensor(run(parts))
    target = tensor(made)
    assert target.shape[0] == 2 and torch.isfinite(target).all()
    assert (target[:1] - plain).abs().max() > 0.1
    assert torch.equal(target, tensor(run(parts, *reversed(controls), batch=2)))
    told = {row["technique"]: row["steps"] for row in made.report["controls"]}
    assert told == {"edit": 2, "blend": told["blend"], "regions": 3, "weight": 3, "nag": 3} and told["blend"]
    # a picture is what it is alone
    assert (target[:1] - tensor(run(parts, *controls))).abs().max() <= NEAR


def test_all_of_them_work_from_a_picture(parts: Parts) -> None:
    drawn = tensor(run(parts))
    latent = Latent(64, 64, 1, 3).with_tensor(drawn.clone(), parts.family.name)
    start = {"latent": latent, "sigmas": from_strength(flow(4, 3.0), 0.5)}
    plain = tensor(run(parts, **start))
    made = tensor(run(parts, *together(parts), **start))
    assert torch.isfinite(made).all() and (made - plain).abs().max() > 1e-2
    assert torch.equal(
        tensor(run(parts, *(make(parts) for make in list(NEUTRAL.values())[:4]), **start)), plain
    )


def test_weights_and_modules_are_as_before_after_a_run_and_after_a_stop_within_a_step(parts: Parts) -> None:
    before, plain = state(parts.transformer), tensor(run(parts))
    run(parts, *together(parts))
    assert state(parts.transformer) == before
    last = [site for site in adapter_for(parts.transformer).sites(parts.transformer) if site.joint][-1]

    def stop(call: Call) -> Any:
        if call.step.index:
            raise KeyboardInterrupt
        return ()

    stopping = Control("stop", Need.PROBE, sites=(last.name,), on_probe=stop)
    with pytest.raises(KeyboardInterrupt):
        run(parts, *together(parts), stopping)
    assert state(parts.transformer) == before

    def told(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample_run(
            parts,
            text(parts, NEW),
            text(parts, ""),
            Latent(64, 64, 1, 3),
            flow(STEPS, 3.0),
            sampler("euler"),
            cfg(3.0),
            attachments=together(parts),
            on_step=told,
        )
    assert state(parts.transformer) == before
    assert torch.equal(tensor(run(parts)), plain)
