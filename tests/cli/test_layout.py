"""`layout SENTENCE`: the layout as JSON, the report, and bad calls in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.pixels import encode, read_picture
from studio.values import Image

Cli = Callable[..., Any]


def test_the_layout_is_printed_as_json_and_the_report_beside_it(cli: Cli) -> None:
    said = cli("layout", "two red stars above a green tree despite everything, at night")
    assert said.code == 0
    assert [region["prompt"] for region in said.json["regions"]] == [
        "a red star",
        "a red star",
        "a green tree",
    ]
    assert said.json["background"] == "at night"
    assert "'despite everything'" in said.err
    assert "Nothing to mend." in said.err and "Ove 0.000" in said.err


def test_json_holds_all_in_one_object(cli: Cli) -> None:
    said = cli("layout", "a cat and two dogs in front of a barn", "--size", "512x256", "--json")
    assert said.code == 0 and said.err == ""
    assert said.json["status"] == "finished"
    assert said.json["layout"]["regions"][0]["role"] == "underlay"
    assert said.json["measures"]["und_s"] == 1.0
    assert said.json["findings"] == [] and said.json["passed_over"] == []


def test_a_picture_below_and_a_drawing(cli: Cli, tmp_path: Path) -> None:
    below = tmp_path / "below.png"
    pixels = np.full((64, 64, 3), 128, np.uint8)
    pixels[:, 16:48] = (220, 20, 20)
    below.write_bytes(encode(Image(pixels)))
    drawn = tmp_path / "drawn.jpg"
    said = cli("layout", "a cat", "--picture", below, "--draw", drawn, "--json")
    assert said.code == 0
    assert said.json["measures"]["occ"] is not None
    assert read_picture(drawn.read_bytes()).width == 512
    assert drawn.read_bytes()[:2] == b"\xff\xd8"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("layout", "  "), "empty"),
        (("layout", "a cat", "--size", "0x64"), "0x64"),
        (("layout", "a cat", "--size", "1x100000"), "1x100000"),
        (("layout", "a cat", "--size", "big"), "big"),
        (("layout", "a cat", "--picture", "/no/such.png"), "/no/such.png"),
        (("layout", "a cat", "--draw", "x.txt"), "x.txt"),
        (("layout",), "SENTENCE"),
    ],
)
def test_bad_calls(cli: Cli, words: tuple[str, ...], named: str) -> None:
    said = cli(*words)
    assert said.code == 2
    assert named in said.err
    assert said.err.startswith("Error:")


def test_a_sentence_of_nothing_is_no_fault(cli: Cli) -> None:
    said = cli("layout", "!?")
    assert said.code == 0
    assert json.loads(said.out)["regions"] == []
    assert "no regions" in said.err
