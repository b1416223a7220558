"""A signature is a schema (6.1, 6.2); the context works alone (6.3)."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import pytest

from studio.errors import StudioError
from studio.graph.context import CancelToken, Context
from studio.graph.spec import node, split_help
from studio.graph.types import misfit, output_name
from studio.graph.widgets import Choice, Colour, ModelRef, Prompt, Seed, Slider, Text


class Picture:
    """A value."""


class TokenSpan:
    __weft_type__ = "Span"


class Pair(NamedTuple):
    first: Picture
    second: list[TokenSpan]


@node(group="Finish", id="every")
def everything(
    image: Picture,
    spans: list[TokenSpan],
    mask: Picture | None = None,
    *,
    amount: Annotated[float, Slider(0, 1, 0.1)] = 0.5,
    steps: Annotated[int, Slider(1, 200)] = 20,
    name: Text = "weft",
    long: Annotated[str, Text(lines=4)] = "",
    words: Prompt = "",
    tint: Colour = "#000000",
    seed: Seed = 0,
    ref: ModelRef = "embedded:x",
    kind: Annotated[str, Choice("a", "b")] = "a",
    plain: float = 1.0,
    on: bool = True,
    ctx: Context,
) -> Pair:
    """Does everything.

    amount: how much of it
    """
    return Pair(image, spans)


SPEC = everything.spec  # type: ignore[attr-defined]


def test_signature_becomes_sockets_and_widgets() -> None:
    assert SPEC.kind == "every"
    assert [(s.name, s.type, s.required, s.many) for s in SPEC.inputs] == [
        ("image", "Picture", True, False),
        ("spans", "Span", True, True),
        ("mask", "Picture", False, False),
    ]
    assert {p.name: p.widget.sort for p in SPEC.params} == {
        "amount": "slider",
        "steps": "slider",
        "name": "text",
        "long": "text",
        "words": "prompt",
        "tint": "colour",
        "seed": "seed",
        "ref": "model",
        "kind": "choice",
        "plain": "number",
        "on": "bool",
    }
    assert [(s.name, s.type, s.many) for s in SPEC.outputs] == [
        ("first", "Picture", False),
        ("second", "Span", True),
    ]
    assert next(p for p in SPEC.params if p.name == "amount").help == "how much of it"
    assert SPEC.context == "ctx"
    assert SPEC.title == "Every"


def test_whole_number_slider_takes_no_decimals() -> None:
    steps = next(p for p in SPEC.params if p.name == "steps")
    assert steps.problem(3.0) is not None
    assert steps.problem(3) is None


def test_page_gets_plain_json() -> None:
    import json

    data = SPEC.to_json()
    assert json.loads(json.dumps(data)) == data
    amount = next(w for w in data["widgets"] if w["name"] == "amount")
    assert (amount["min"], amount["max"], amount["step"], amount["default"], amount["kind"]) == (
        0,
        1,
        0.1,
        0.5,
        "slider",
    )


def test_function_stays_callable_and_nothing_is_registered() -> None:
    picture = Picture()
    assert everything(picture, [], ctx=Context()).first is picture


def test_unnamed_output_is_named_by_its_type() -> None:
    assert output_name(Picture) == "picture"
    assert output_name(TokenSpan) == "span"
    assert output_name(type("TokenSpan", (), {}), many=True) == "token_spans"
    assert output_name(type("HTMLPage", (), {})) == "htmlpage"


@pytest.mark.parametrize(
    ("line", "many", "target", "target_many", "fits"),
    [
        (("Int",), False, "Float", False, True),
        (("Float",), False, "Int", False, False),
        (("Cat", "Animal"), False, "Animal", False, True),
        (("Animal",), False, "Cat", False, False),
        (("Cat",), False, "Cat", True, True),
        (("Cat",), True, "Cat", False, False),
        (("Cat",), True, "Cat", True, True),
        (("any",), False, "Cat", False, True),
        (("Cat",), False, "any", False, True),
        (("Bool",), False, "Int", False, False),
    ],
)
def test_types_fit_exactly_or_as_declared(
    line: tuple[str, ...], many: bool, target: str, target_many: bool, fits: bool
) -> None:
    assert (misfit(line, many, target, target_many) == "") is fits


def test_context_alone_draws_and_gives_a_folder_that_goes_away() -> None:
    ctx = Context(seed=3, path="n")
    assert ctx.rng.integers(10**9) == Context(seed=3, path="n").rng.integers(10**9)
    assert ctx.rng is ctx.rng
    folder = ctx.temp()
    (folder / "x").write_text("x")
    ctx.close()
    assert not folder.exists()
    ctx.step(1, 2)
    with pytest.raises(StudioError, match="no models"):
        _ = ctx.models


def test_stopped_context_raises_in_the_next_step_and_tells_listeners_once() -> None:
    token, heard = CancelToken(), []
    token.on_cancel(lambda: heard.append(1))
    ctx = Context(cancel=token)
    token.cancel()
    token.cancel()
    token.on_cancel(lambda: heard.append(2))
    assert heard == [1, 2]
    with pytest.raises(StudioError, match="stopped"):
        ctx.step(1, 10)


def test_torch_generator_comes_from_the_studio_and_differs_by_number() -> None:
    ctx = Context(seed=1, path="n", generator=lambda seed: seed)
    assert ctx.generator() == ctx.generator(0) != ctx.generator(1)
    assert 0 <= ctx.generator() < 2**53
    with pytest.raises(StudioError, match="No torch generator"):
        Context().generator()


def test_help_of_a_parameter_goes_on_to_the_next_one_or_to_an_empty_line() -> None:
    text = "What it is.\n\nfirst: one thing\n    and more\nof it: too\n`second`: short\n\nother: prose.\n"
    prose, helps = split_help(text, ["first", "second", "third"])
    assert helps == {"first": "one thing and more of it: too", "second": "short"}
    assert prose == "What it is.\n\nother: prose."
    assert split_help("", ["first"]) == ("", {})
