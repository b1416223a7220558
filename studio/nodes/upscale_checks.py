"""What can be told of upscalers and tiles before a run."""

from __future__ import annotations

from collections.abc import Iterator

from studio.api import Refusal, StudioError, Upscaler, View
from studio.nodes.prompt import outline, refused
from studio.policy import Policy
from studio.sampling.tiled import refused as whole_only
from studio.upscaling.engines import FILTERS, filter_upscaler, seen_upscaler, upscaler_file
from studio.upscaling.files import read_design
from studio.upscaling.others import check_known
from studio.upscaling.run import check_tile

# Techniques of attachments whose controls can be cropped (`AttentionControl.cropped`).
CROPPED = ("regions", "weight", "nag", "nasa")


def review_upscaler(view: View) -> Iterator[Refusal]:
    """A misspelt name, a file that is not there, a pickle, or a network that nobody here knows. A host that
    opens no files of people has refused paths before."""
    ref = view.widgets.get("upscaler")
    if isinstance(ref, str) and ref.strip() not in FILTERS:
        try:
            path = upscaler_file(ref.strip(), Policy.local())
            if read_design(path) is None:
                check_known(path)
        except StudioError as error:
            yield refused(error, "upscaler")
        except OSError as error:
            yield Refusal(f"{ref} cannot be read: {error.strerror or error}.", "Choose another.", "upscaler")


def review_enlarge(view: View) -> Iterator[Refusal]:
    """Tiles that do not move on, or are too small for the upscaler."""
    yield from review_overlap(view)
    side, upscaler = view.widgets.get("tile"), _upscaler(view)
    if isinstance(side, int) and side and upscaler is not None:
        try:
            check_tile(upscaler, side)
        except StudioError as error:
            yield refused(error)


def _upscaler(view: View) -> Upscaler | None:
    """The upscaler that feeds a node; None where it cannot be told without loading it."""
    fed = view.feeding("upscaler")
    ref = fed[0].widgets.get("upscaler") if len(fed) == 1 and fed[0].kind == "load_upscaler" else None
    if not isinstance(ref, str):
        return None
    try:
        if ref.strip() in FILTERS:
            return filter_upscaler(ref.strip())
        policy = Policy.local()
        known = read_design(upscaler_file(ref.strip(), policy)) is not None
        return seen_upscaler(ref, policy) if known else None
    except (OSError, StudioError):
        return None


def review_overlap(view: View) -> Iterator[Refusal]:
    """Tiles that would not move on."""
    side, overlap = view.widgets.get("tile"), view.widgets.get("overlap")
    if isinstance(side, int) and isinstance(overlap, int) and side and overlap > side // 2:
        yield Refusal(
            f"An overlap of {overlap} is more than half a tile of {side}.",
            f"Possible: 0 to {side // 2}, or -1 for what suits.",
            "overlap",
        )


def review_tiles(view: View) -> Iterator[Refusal]:
    """In a run by tiles: attachments that need the whole picture, a second set of tiles, and tiles that the
    model cannot paint."""
    found = [wrap for wrap in view.feeding("wraps") if wrap.kind == "tiles"]
    if len(found) > 1:
        yield Refusal("A run goes by one set of tiles.", "Disconnect one.", "wraps")
    for control in view.feeding("attachments") if found else ():
        if control.technique not in CROPPED:
            yield refused(whole_only(control.title))
    for wrap in found:
        yield from _tile_sides(view, wrap)


def _tile_sides(view: View, wrap: View) -> Iterator[Refusal]:
    """Sides that the model cannot paint; a tile larger than the picture is the picture, whose size may be
    known only when it runs."""
    model, side = outline(view), wrap.widgets.get("tile")
    if model is None or model.sides is None or not isinstance(side, int):
        return
    step, limit = model.sides
    canvas = [source.widgets for source in view.feeding("latent") if source.kind == "empty_latent"]
    largest = max((int(one.get(name, 0)) for one in canvas for name in ("width", "height")), default=0)
    wrong = side % step or side < 2 * step or min(side, largest) > limit
    if wrong or (side > limit and not canvas):
        yield Refusal(
            f"{model.title} paints up to {limit} pixels a side, in steps of {step}; these tiles have {side}.",
            f"Take {min(max(round(side / step), 2) * step, limit // step * step)}"
            + ("." if wrong else ", unless the picture itself is no larger."),
            "tile",
            "error" if wrong else "warning",
            at=wrap,
        )
