"""Contrast of the theme's colours by the formula of WCAG 2.2 (relative luminance), in light and in dark."""

from __future__ import annotations

import re

import pytest

from studio.settings import ROOT

STYLE = (ROOT / "assets" / "theme.css").read_text("utf-8")
TEXT, LARGE = 4.5, 3.0  # AA: text; large text, icons and the borders of fields (1.4.11)
GROUNDS = ("bg", "panel", "raised", "sunk", "mat", "tab")
# what stands on what
TEXTS = [
    *(("ink", ground) for ground in GROUNDS),
    *(("soft", ground) for ground in ("bg", "panel", "raised", "sunk", "mat")),
    *(("accent", ground) for ground in ("bg", "panel", "raised")),
    ("on-accent", "accent"), ("on-accent", "accent-deep"), ("accent-deep", "accent-tint"),
    ("ink", "accent-tint"),
    ("good", "panel"), ("good", "bg"), ("bad", "panel"), ("bad", "bad-tint"), ("bad", "raised"),
    ("warn", "warn-tint"), ("warn", "panel"), ("ink", "bad-tint"), ("bg", "ink"),
]  # fmt: skip
SIGNS = [("line-strong", "bg"), ("line-strong", "panel"), ("line-strong", "raised"), ("accent", "panel")]


def colours(theme: str) -> dict[str, str]:
    """The #rrggbb variables of a theme; dark ones stand over the light ones."""

    def of(block: str) -> dict[str, str]:
        start = STYLE.index(block)
        inside = STYLE[start : STYLE.index("\n}", start)]
        return dict(re.findall(r"--w-([\w-]+): (#[0-9a-f]{6});", inside))

    return of("\n:root {") | (of("\n.dark {") if theme == "dark" else {})


def luminance(colour: str) -> float:
    """Relative luminance 0..1 of sRGB #rrggbb."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_formula_gives_the_known_ends():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("pair", TEXTS, ids="-on-".join)
def test_texts_can_be_read(theme, pair):
    front, back = (colours(theme)[name] for name in pair)
    assert contrast(front, back) >= TEXT, f"{front} on {back}: {contrast(front, back):.2f}"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("pair", SIGNS, ids="-on-".join)
def test_borders_and_signs_can_be_seen(theme, pair):
    front, back = (colours(theme)[name] for name in pair)
    assert contrast(front, back) >= LARGE, f"{front} on {back}: {contrast(front, back):.2f}"


def test_every_colour_of_the_light_theme_has_a_dark_one():
    block = STYLE.split("\n.dark {")[1].split("\n}")[0]
    assert set(colours("light")) == set(re.findall(r"--w-([\w-]+): #[0-9a-f]{6};", block))
