"""Layouts from sentences, looked over, tidied and drawn; and several pictures made as panels of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NamedTuple

from studio.api import (
    Context,
    Image,
    Mask,
    Number,
    Prompt,
    Refusal,
    Slider,
    StudioError,
    Text,
    View,
    node,
)
from studio.layout import drawing
from studio.layout import panels as sheets
from studio.layout.lint import lint
from studio.layout.measures import measure
from studio.layout.notes import notes
from studio.layout.panels import MOST_PANELS, PanelGrid
from studio.layout.plan import plan_sentence, tidy
from studio.layout.saliency import maps_of
from studio.values import Layout


def review_sentence(view: View) -> Iterator[Refusal]:
    """A sentence that says nothing."""
    sentence = view.widgets.get("sentence")
    if isinstance(sentence, str) and not sentence.strip():
        # a layout without regions is one, so this only warns
        write = 'Write one, such as "a red star above a house".'
        yield Refusal("The sentence is empty.", write, "sentence", "warning")


def review_panels(view: View) -> Iterator[Refusal]:
    """More panels than a sheet may have."""
    panels = view.widgets.get("panels")
    count = sum(bool(line.strip()) for line in panels.splitlines()) if isinstance(panels, str) else 0
    if count > MOST_PANELS:
        yield Refusal(
            f"{count} lines make {count} panels; {MOST_PANELS} are possible.",
            "Leave lines out; more than 4 panels begin to lose what they share.",
            "panels",
        )


@node(group="Layout", title="Plan from a sentence", review=review_sentence)
def plan_layout(
    sentence: Prompt = "",
    width: Annotated[int, Number(64, 2048, 16)] = 256,
    height: Annotated[int, Number(64, 2048, 16)] = 256,
    picture: Image | None = None,
    *,
    ctx: Context,
) -> Layout:
    """A sentence becomes boxes: one region for each thing it names, placed as it says. Change them as you
    like before anything is painted.

    It understands how many there are, colours and sizes, places ("on the left", "top right"), and how things
    stand to each other ("above", "between", "inside", "in front of"). Words that it could do nothing with are
    named in a note; they still belong to the prompt of the whole picture.

    sentence: what the picture shows, such as: two red stars above a green tree, at night
    width: pixels of the picture that will be painted; only its shape matters here
    height: pixels
    picture: plan around what is in this picture, so that little of it is covered
    """
    ctx.policy.check_prompt(sentence, socket="sentence")
    maps = None if picture is None else maps_of(picture)
    layout, reading = plan_sentence(sentence, aspect=width / height, maps=maps)
    for note in notes(sentence, reading):
        ctx.warn(note)
    return layout


@node(group="Layout", title="Tidy layout")
def tidy_layout(
    layout: Layout,
    picture: Image | None = None,
    gap: Annotated[float, Slider(0, 0.2, 0.01)] = 0.02,
) -> Layout:
    """Move boxes apart where they overlap, and into line where they nearly are. No box changes its size, and
    none goes farther than it must. Locked and painted regions stay where they are.

    picture: boxes also move off what draws the eye in this picture
    gap: how far apart boxes keep, as a share of the picture
    """
    return tidy(layout, maps=None if picture is None else maps_of(picture), gap=gap)


class LayoutReport(NamedTuple):
    """What the check said: in words, and drawn."""

    report: str
    picture: Image


@node(group="Layout", title="Check layout")
def check_layout(
    layout: Layout,
    picture: Image | None = None,
    width: Annotated[int, Number(64, 2048, 16)] = 512,
    height: Annotated[int, Number(64, 2048, 16)] = 512,
    *,
    ctx: Context,
) -> LayoutReport:
    """Look a layout over before you spend a picture on it: boxes that overlap, hide each other, are too small
    or nearly in line, each with what to do about it.

    The line below holds the measures of poster layouts: Ove overlap, Ali how far out of line, Und what lies
    on underlays, and with a picture Uti used empty space, Occ covered eye-catchers, Rea unrest under text.

    picture: what the layout will lie on, if there is something already
    width: pixels of the drawing
    height: pixels of the drawing
    """
    ctx.policy.check_pixels(width, height, socket="width")
    maps = None if picture is None else maps_of(picture)
    findings, measures = lint(layout, maps), measure(layout, maps)
    for finding in findings:
        if finding.level == "error":
            ctx.warn(f"{finding.message} {finding.hint}")
    ctx.note("measures", measures.as_json())
    drawn = drawing.draw_report(layout, findings, measures, width, height, picture)
    return LayoutReport(drawing.report_text(findings, measures), drawn)


@node(group="Layout", title="Draw layout")
def draw_layout(
    layout: Layout,
    picture: Image | None = None,
    width: Annotated[int, Number(64, 2048, 16)] = 512,
    height: Annotated[int, Number(64, 2048, 16)] = 512,
    *,
    ctx: Context,
) -> Image:
    """Show a layout as a picture: every region in its colour, with its name and words.

    picture: draw over this picture, such as the one that was painted from the layout
    width: pixels
    height: pixels
    """
    ctx.policy.check_pixels(width, height, socket="width")
    return drawing.draw_layout(layout, width, height, picture)


class PanelSheet(NamedTuple):
    """All that a picture made of panels needs."""

    prompt: str
    grid: PanelGrid
    width: int
    height: int
    sheet: Image
    mask: Mask


@node(group="Layout", title="Panels", review=review_panels)
def panel_sheet(
    panels: Prompt = "",
    together: Prompt = "",
    width: Annotated[int, Number(64, 2048, 16)] = 128,
    height: Annotated[int, Number(64, 2048, 16)] = 128,
    tags: bool = True,
    references: list[Image] = [],  # noqa: B006 - read only
    *,
    ctx: Context,
) -> PanelSheet:
    """Several pictures painted as one, so that they belong together: the same character, one style. Paint the
    prompt at this width and height, then cut the picture with Split panels.

    panels: one line for each panel, at most 12; more than 4 begin to lose what they share
    together: what holds for all of them, such as the character or the style
    width: pixels of one panel
    height: pixels of one panel
    tags: name the panels like [LEFT]; off names them in plain words, for models that do not know such tags
    references: pictures that are given; they take the first panels, and the first lines describe them
    """
    lines = [line.strip() for line in panels.splitlines() if line.strip()] or [""]
    if len(lines) <= len(references):
        raise StudioError(
            f"{len(lines)} lines describe {len(references)} references and no panel to paint.",
            hint="Write one line for each reference, then one for each panel to paint.",
            socket="panels",
        )
    grid = sheets.grid_for(len(lines), width, height, len(references))
    ctx.policy.check_pixels(*grid.size, socket="width")
    prompt = sheets.panel_prompt(grid, lines, together, tags=tags)
    ctx.policy.check_prompt(prompt, socket="panels")
    return PanelSheet(
        prompt, grid, *grid.size, sheets.start_sheet(grid, references), sheets.output_mask(grid)
    )


@node(group="Layout", title="Split panels", output=True)
def split_panels(
    image: Image, grid: PanelGrid, with_references: bool = False, name: Text = "panel"
) -> list[Image]:
    """Cut a picture made of panels into its pictures, exactly at the edges, and keep them in the history.

    grid: from Panels
    with_references: also those that were given
    name: of the files when the pictures are handed out
    """
    found = sheets.split(image, grid)
    return list(found if with_references else found[grid.references :])


@node(group="Layout", title="Put references back")
def paste_references(image: Image, sheet: Image, grid: PanelGrid) -> Image:
    """Put the pictures that were given back into their panels, exactly as they were.

    image: the picture that was painted
    sheet: from Panels
    grid: from Panels
    """
    return sheets.paste_back(image, sheet, grid)
