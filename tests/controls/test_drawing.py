"""Figures and their colours: the scale is in order for every eye, labels fit, pictures keep their shape."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw

from studio.controls.drawing import Panel, Section, heat_figure, overlay, strip, text_width, write
from studio.controls.heat_colours import HIGH, INK, LOW, PAPER, PICTURE, SOFT, TEXT, colours, scale, to_oklab
from studio.values import Image

LEGEND = ("least", "attention", "most")
# Machado, Oliveira, Fernandes 2009, severity 1.0, on linear light
BLIND = {
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}


def linear(rgb: np.ndarray) -> np.ndarray:
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def seen_by(kind: str, rgb: np.ndarray) -> np.ndarray:
    light = (linear(rgb) @ np.array(BLIND[kind]).T).clip(0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """The contrast ratio of WCAG 2."""
    bright = sorted(float(linear(np.array(c) / 255) @ (0.2126, 0.7152, 0.0722)) for c in (one, other))
    return (bright[1] + 0.05) / (bright[0] + 0.05)


def test_lightness_rises_evenly_from_dark_to_bright() -> None:
    lab = to_oklab(scale() / 255)
    assert np.abs(lab[:, 0] - np.linspace(LOW, HIGH, len(lab))).max() < 0.004
    steps = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    assert steps.max() < 4 * steps.mean() / 2 and steps.min() > 0.001


@pytest.mark.parametrize("kind", BLIND)
def test_the_order_of_values_is_seen_without_some_colours(kind: str) -> None:
    lab = to_oklab(seen_by(kind, scale() / 255))
    assert (np.diff(lab[:, 0]) > -0.001).all() and lab[-1, 0] - lab[0, 0] > 0.7
    # eight levels stay well apart
    eight = lab[:: len(lab) // 8]
    assert np.linalg.norm(np.diff(eight, axis=0), axis=1).min() > 0.06


@pytest.mark.parametrize("kind", ["all", *BLIND])
def test_picture_and_words_are_told_apart_by_everybody(kind: str) -> None:
    pair = np.array([PICTURE, TEXT]) / 255
    lab = to_oklab(pair if kind == "all" else seen_by(kind, pair))
    assert abs(lab[0, 0] - lab[1, 0]) > 0.2


def test_letters_stand_out_from_the_paper() -> None:
    assert contrast(INK, PAPER) > 7 and contrast(SOFT, PAPER) > 4.5


def test_values_become_the_colours_of_their_place_on_the_scale() -> None:
    found = colours(np.array([[0.0, 0.5, 1.0], [-3.0, 2.0, 1 / 255]]))
    assert np.array_equal(found[0], scale()[[0, 128, 255]]) and np.array_equal(found[1], scale()[[0, 255, 1]])


def picture(width: int = 60, height: int = 40) -> Pillow.Image:
    rng = np.random.default_rng(2)
    return Pillow.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_an_overlay_goes_from_the_picture_to_the_map() -> None:
    values = np.linspace(0, 1, 24).reshape(4, 6)
    ground = picture()
    assert np.array_equal(np.asarray(overlay(ground, values, 0.0, True)), np.asarray(ground))
    alone = np.asarray(overlay(ground, values, 1.0, False))
    assert np.array_equal(alone[5::10, 5::10], colours(values))
    between = np.asarray(overlay(ground, values, 0.75, False), np.int16)
    # the picture's light does not shift the colours of the map: the mean of a square is the map's colour
    plain = np.asarray(overlay(Pillow.new("RGB", ground.size, (40, 90, 200)), values, 0.75, False))
    assert np.array_equal(plain, alone)
    assert np.abs(between - alone).mean() > 1


@pytest.mark.parametrize("panels", [1, 2, 5, 28, 60])
@pytest.mark.parametrize("sections", [1, 3])
def test_a_figure_holds_every_panel_at_a_readable_size(panels: int, sections: int) -> None:
    white = Panel(np.ones((4, 6)), "a label that is much too long for its panel to hold", "and a note")
    figure = heat_figure(
        None, [Section("word", (white,) * panels)] * sections, "Maps", LEGEND, smooth=False, aspect=1.5
    )
    top = tuple(int(value) for value in scale()[-1])
    area = int((figure.pixels == np.array(top)).all(-1).sum())
    wide = (area / (panels * sections) * 1.5) ** 0.5
    assert 128 < wide <= 460
    assert figure.width <= 1500


def test_a_figure_over_a_picture_keeps_its_proportions() -> None:
    image = Image(np.asarray(picture(90, 30)))
    figure = heat_figure(image, [Section("", (Panel(np.ones((2, 6)), "x"),))], "Maps", LEGEND, strength=1.0)
    body = (figure.pixels == scale()[-1]).all(-1)
    rows, columns = np.flatnonzero(body.sum(1) > 200), np.flatnonzero(body.sum(0) > 100)
    assert len(columns) / len(rows) == pytest.approx(3, abs=0.05)


def test_a_strip_shows_every_picture() -> None:
    images = [Image(np.full((20, 30, 3), shade, np.uint8)) for shade in (10, 60, 110, 160, 210)]
    figure = strip([(image, f"step {i}", "noise 0.5") for i, image in enumerate(images)], "Strip")
    for shade in (10, 60, 110, 160, 210):
        assert (figure.pixels == shade).all(-1).sum() > 10_000


def test_text_is_cut_with_an_ellipsis_where_it_does_not_fit() -> None:
    page = Pillow.new("RGB", (400, 60), (255, 255, 255))
    pen = ImageDraw.Draw(page)
    used = write(pen, (10, 10), "a very long line of words that cannot fit here", 15, room=120)
    assert 60 < used <= 120
    ink = np.flatnonzero((np.asarray(page) < 200).all(-1).any(0))
    assert ink.min() >= 9 and ink.max() <= 131
    assert write(pen, (10, 40), "", 15) == 0
    assert text_width("mmm", 15) > text_width("iii", 15)
    assert text_width("bold", 15, 700) > text_width("bold", 15, 400)


@pytest.mark.parametrize("text", ["日本", "ж\u202e", "\0", "🐉", "two\nlines"])
def test_odd_labels_are_drawn_without_a_crash(text: str) -> None:
    page = Pillow.new("RGB", (200, 40), PAPER)
    assert write(ImageDraw.Draw(page), (5, 5), text, 15, room=150) <= 150
