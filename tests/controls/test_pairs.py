"""The composition table on a real network: what "works" runs, and a neutral partner changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from studio.controls.blend import Blend
from studio.controls.composition import TITLES, WORKS, rule
from studio.controls.concepts import make_concepts
from studio.controls.control import AttentionControl
from studio.controls.estimates import Estimates
from studio.controls.force_source import ForceSource
from studio.controls.four_block import FourBlock
from studio.controls.inject_qk import BLOCKS, InjectQK
from studio.controls.inject_v import InjectValues
from studio.controls.keep_subject import KeepSubject
from studio.controls.nasa import Nasa
from studio.controls.negative import Nag
from studio.controls.region_maps import RegionMaps, RegionWord
from studio.controls.regional import Regional, RegionText
from studio.controls.reweight import WordWeight
from studio.controls.share_kv import KeepLook
from studio.controls.text_layers import TextLayers
from studio.controls.word_maps import WordMaps
from studio.models.device import start_noise
from studio.models.family import Parts, parts_of
from studio.models.loading import ModelStore
from studio.models.text import encode_prompt
from studio.models.words import find_words, segment_conditioning
from studio.sampling.guidance.cfg import cfg
from studio.sampling.inversion import invert
from studio.sampling.loop import Run, sample_run
from studio.sampling.samplers import sampler
from studio.sampling.schedules import flow
from studio.values import Conditioning, Inversion, Latent, Region

SOURCE, TARGET = "a red star and a blue house", "a green star and a blue house"
STEPS = 5
Make = Callable[[Parts], AttentionControl]


@pytest.fixture(scope="module")
def parts() -> Parts:
    return parts_of(ModelStore().load("tiny:sd3"))


def text(parts: Parts, prompt: str) -> Conditioning:
    return encode_prompt(parts, prompt, "it")[0]


def picture(parts: Parts) -> Latent:
    return Latent(64, 64, 1, 3).with_tensor(start_noise((1, 4, 8, 8), 11) * 0.5, "sd3")


def path(parts: Parts) -> Inversion:
    prompts = text(parts, SOURCE), text(parts, "")
    return invert(parts, *prompts, picture(parts), flow(STEPS, 3.0), method="euler", keep_values=2)


def regional(parts: Parts) -> Regional:
    boxes = ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0))
    words = ("a green star", "a blue house")
    texts = (
        RegionText(Region(f"r{i}", prompt, box), segment_conditioning(parts, prompt))
        for i, (prompt, box) in enumerate(zip(words, boxes, strict=True))
    )
    return Regional(TARGET, tuple(texts))


def subject(parts: Parts) -> KeepSubject:
    return KeepSubject(
        start_noise((1, 4, 8, 8), 11), start_noise((1, 4, 8, 8), 12), text(parts, SOURCE), (0, 1)
    )


def blend(parts: Parts) -> Blend:
    before, after = find_words(parts, SOURCE, "red"), find_words(parts, TARGET, "green")
    return Blend(text(parts, SOURCE), (before,), (after,), (0, 1))


MAKERS: dict[str, Make] = {
    "force": lambda parts: ForceSource(path(parts)),
    "inject_v": lambda parts: InjectValues(path(parts), 1),
    "text_layers": lambda parts: TextLayers(text(parts, SOURCE), (0,)),
    "edit": lambda parts: InjectQK(text(parts, SOURCE), tau=0.4),
    "look": lambda parts: KeepLook(text(parts, SOURCE), (1,), 0.0, 0.6),
    "subject": subject,
    "regions": regional,
    "weight": lambda parts: WordWeight(((find_words(parts, TARGET, "star"), 1.5),)),
    "nag": lambda parts: Nag(segment_conditioning(parts, "red")),
    "nasa": lambda parts: Nasa(segment_conditioning(parts, "red")),
    "blend": blend,
    "concepts": lambda parts: make_concepts([segment_conditioning(parts, w) for w in ("star", "house")]),
    "four_block": lambda parts: FourBlock(),
    "word_maps": lambda parts: WordMaps((find_words(parts, TARGET, "star"),)),
    "region_maps": lambda parts: RegionMaps(
        regional(parts), (RegionWord("1: star", 0, "text/seg:regions.0", (1,)),)
    ),
    "estimates": lambda parts: Estimates(2),
}
WORKING = [
    (one, other)
    for i, one in enumerate(TITLES)
    for other in list(TITLES)[i + 1 :]
    if rule(one, other).verdict == WORKS
]


def run(parts: Parts, controls: list[AttentionControl], batch: int = 1) -> Run:
    return sample_run(
        parts,
        text(parts, TARGET),
        text(parts, ""),
        Latent(64, 64, batch, 3),
        flow(STEPS, 3.0),
        sampler("euler"),
        cfg(3.0),
        attachments=controls,
    )


def test_every_technique_of_the_table_is_made_here() -> None:
    assert set(MAKERS) == set(TITLES)


@pytest.mark.parametrize(("one", "other"), WORKING)
def test_a_pair_that_works_runs_in_either_order(parts: Parts, one: str, other: str) -> None:
    first, second = MAKERS[one](parts), MAKERS[other](parts)
    forward = run(parts, [first, second]).latent.tensor
    backward = run(parts, [second, first]).latent.tensor
    assert forward is not None and torch.isfinite(forward).all()
    assert torch.equal(forward, backward)


@pytest.mark.parametrize("other", ["weight", "subject", "nag"])
@pytest.mark.parametrize("block", BLOCKS)
def test_an_edit_by_a_block_of_the_scores_lets_the_others_act(parts: Parts, block: str, other: str) -> None:
    edit = InjectQK(text(parts, SOURCE), tau=1.0, block=block)
    alone, both = (run(parts, controls).latent.tensor for controls in ([edit], [edit, MAKERS[other](parts)]))
    assert alone is not None and both is not None and (both - alone).abs().max() > 1e-3


@pytest.mark.parametrize("technique", ["edit", "regions", "nag", "look"])
def test_every_part_set_neutral_in_turn_equals_the_run_without_it(parts: Parts, technique: str) -> None:
    neutral: dict[str, Make] = {
        "edit": lambda parts: InjectQK(text(parts, SOURCE), tau=0.0),
        "nag": lambda parts: Nag(segment_conditioning(parts, "red"), scale=1.0),
        "regions": lambda parts: Regional(TARGET, ()),
        "look": lambda parts: KeepLook(text(parts, SOURCE), (), 0.0, 0.6),
    }
    others = [MAKERS[name](parts) for name in ("regions", "nag", "weight") if name != technique]
    with_it = run(parts, [neutral[technique](parts), *others]).latent.tensor
    without = run(parts, others).latent.tensor
    assert with_it is not None and without is not None and torch.equal(with_it, without)


def test_edit_regions_weight_and_nag_go_in_one_run_of_two_pictures(parts: Parts) -> None:
    controls = [MAKERS[name](parts) for name in ("edit", "regions", "weight", "nag", "word_maps")]
    both = run(parts, controls, batch=2)
    plain = run(parts, [], batch=2)
    made, other = both.latents["target"].tensor, plain.latent.tensor
    assert made is not None and other is not None and made.shape == other.shape
    assert (made - other).abs().max() > 1e-3
    assert any(seen.role == "target" for seen in both.seen.maps)
