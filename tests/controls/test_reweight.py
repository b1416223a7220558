"""The laws of word weight, on every family."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from studio.controls.control import Call, Columns
from studio.controls.inject_qk import InjectQK
from studio.controls.reweight import WordWeight
from studio.errors import StudioError
from studio.models.family import parts_of
from studio.models.loading import ModelStore
from studio.models.words import find_words
from studio.values import TokenSpan
from tests.controls.attaching import GRID, call_of, controlled, state
from tests.controls.region_help import (
    NETWORKS,
    ROWS,
    Watch,
    family_of,
    image_tokens,
    network_of,
    prompt,
    regional,
    sampled,
    tensor,
)

SPAN = TokenSpan("star", (2, 4))
every_network = pytest.mark.parametrize("name", NETWORKS)


@dataclass(frozen=True)
class Forced(WordWeight):
    """Weights that are not left out where they are 1."""

    def is_neutral(self) -> bool:
        return False

    def columns(self, call: Call) -> list[Columns]:
        rows = call.layout.rows("cond", "target")
        return [Columns(rows, span.tokens, weight, not self.renormalise) for span, weight in self.words]


@pytest.fixture(scope="module", params=["tiny:sd3", "tiny:flux"])
def parts(request):
    store = ModelStore(device="cpu")
    yield parts_of(store.load(request.param))
    store.close()


def answers(name, *controls, roles=ROWS):
    network = network_of(name)
    call = call_of(family_of(name), len(roles), grid=GRID)
    return image_tokens(family_of(name), controlled(network, call, *controls, roles=roles))


def test_a_weight_of_one_and_no_words_are_dropped_bit_for_bit(parts) -> None:
    plain = tensor(sampled(parts))
    star = find_words(parts, "a red star", "star")
    for control in (
        WordWeight(()),
        WordWeight(((star, 1.0),)),
        WordWeight(((star, 1.0),), renormalise=True),
        WordWeight(((star, 3.0),), end=0.0),
    ):
        assert control.is_neutral() and torch.equal(tensor(sampled(parts, control)), plain)
    assert not torch.equal(tensor(sampled(parts, WordWeight(((star, 2.0),)))), plain)


@every_network
@pytest.mark.parametrize("renormalise", [False, True])
def test_on_the_general_path_a_weight_of_one_gives_the_plain_answer(name: str, renormalise: bool) -> None:
    assert torch.allclose(answers(name, Forced(((SPAN, 1.0),), renormalise)), answers(name), atol=1e-5)


@every_network
@pytest.mark.parametrize("renormalise", [False, True])
def test_only_the_picture_of_positive_rows_is_weighed(name: str, renormalise: bool) -> None:
    weighed, plain = Watch(), Watch()
    one = answers(name, WordWeight(((SPAN, 2.0),), renormalise), weighed)
    other = answers(name, WordWeight(((SPAN, 3.0),), renormalise))
    answers(name, Forced(((SPAN, 1.0),), renormalise), plain)
    assert torch.equal(one[:2], other[:2]) and not torch.equal(one[2:], other[2:])
    (image, text), (plain_image, plain_text) = weighed.found[0], plain.found[0]
    assert not torch.equal(image[2:], plain_image[2:])
    if text is not None and plain_text is not None:
        assert torch.allclose(text, plain_text, atol=1e-6)


@every_network
def test_the_source_of_an_edit_is_not_weighed(name: str) -> None:
    roles = ("source.uncond:0", "target.uncond:0", "source:0", "target:0")
    one, other = (answers(name, WordWeight(((SPAN, w),)), roles=roles) for w in (2.0, 3.0))
    assert torch.equal(one[:3], other[:3]) and not torch.equal(one[3], other[3])


@every_network
def test_the_papers_form_is_linear_in_the_weight_and_the_other_is_not(name: str) -> None:
    def first(weight: float, renormalise: bool) -> torch.Tensor:
        watch = Watch()
        answers(name, Forced(((SPAN, weight),), renormalise), watch)
        return watch.tokens()[2:]

    at = {w: first(w, False) for w in (0.0, 1.0, 2.0)}
    assert torch.allclose(at[2.0] - at[1.0], at[1.0] - at[0.0], atol=1e-5)
    logs = {w: first(w, True) for w in (0.5, 1.0, 1.5)}
    assert not torch.allclose(logs[1.5] - logs[1.0], logs[1.0] - logs[0.5], atol=1e-5)


def test_weights_of_several_words_and_controls_multiply() -> None:
    both = answers("sd3", WordWeight(((TokenSpan("a", (2,)), 2.0), (TokenSpan("b", (4,)), 2.0))))
    assert torch.allclose(both, answers("sd3", WordWeight(((SPAN, 2.0),))), atol=1e-6)
    half = WordWeight(((TokenSpan("a", (2, 4)), 0.5),))
    twice = WordWeight(((TokenSpan("b", (2, 4)), 2.0),))
    assert torch.allclose(answers("sd3", half, twice), answers("sd3"), atol=1e-5)


@every_network
@pytest.mark.parametrize("mode", ["open", "strict"])
def test_weights_count_in_the_passes_of_regions(name: str, mode: str) -> None:
    one = answers(name, regional(1, 2, mode=mode, base_ratio=0.5), WordWeight(((SPAN, 3.0),)))
    other = answers(name, regional(1, 2, mode=mode, base_ratio=0.5))
    assert torch.equal(one[:2], other[:2]) and not torch.allclose(one[2:], other[2:], atol=1e-5)


def test_an_edit_with_equal_prompts_differs_only_by_the_weight(parts) -> None:
    source = prompt(parts, "a red star")
    star = find_words(parts, "a red star", "star")
    run = sampled(parts, InjectQK(source, 1.0), WordWeight(((star, 3.0),)), batch=2)
    assert not torch.equal(run.latents["source"].tensor, tensor(run))
    plain = sampled(parts, InjectQK(source, 1.0), batch=2)
    assert torch.equal(run.latents["source"].tensor, plain.latents["source"].tensor)


def test_it_acts_in_its_steps_alone(parts) -> None:
    star = find_words(parts, "a red star", "star")
    run = sampled(parts, WordWeight(((star, 3.0),), start=0.25, end=0.75))
    assert run.report["controls"][0]["steps"] == 2
    with pytest.raises(StudioError, match="less than one of its 4 steps"):
        sampled(parts, WordWeight(((star, 3.0),), end=0.1))


@every_network
def test_the_network_is_as_it_was_afterwards(name: str) -> None:
    network = network_of(name)
    before = state(network)
    call = call_of(family_of(name), len(ROWS), grid=GRID)
    controlled(network, call, WordWeight(((SPAN, 2.0),)), roles=ROWS)
    assert state(network) == before


@pytest.mark.parametrize(
    ("weight", "renormalise", "what"),
    [
        (-1.0, False, "weight of 'star' is -1"),
        (5.0, False, "weight of 'star' is 5"),
        (float("nan"), False, "weight of 'star' is nan"),
        (0.0, True, "cannot be renormalised"),
    ],
)
def test_weights_that_are_not_possible_are_refused(weight: float, renormalise: bool, what: str) -> None:
    with pytest.raises(StudioError, match=what):
        WordWeight(((SPAN, weight),), renormalise)
