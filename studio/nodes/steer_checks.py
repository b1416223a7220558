"""What of steering can be told before a run: sizes that do not fit, words that nobody watched, texts that
nothing would come of, and values that were not kept."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise

from studio.api import Refusal, StudioError, View
from studio.controls.reading import once_each, word_columns
from studio.controls.regional import MOST_REGIONS
from studio.models.words import words_of
from studio.nodes.guidance_checks import asks_negative
from studio.nodes.prompt import prompt_of, refused
from studio.nodes.regions import regions_of
from studio.nodes.run_checks import known_sigmas
from studio.nodes.together import run_steps
from studio.values import Sigmas

# Noise levels nearer than this are one, as for an inversion's path.
NEAR = 1e-6
# Attachments and wraps that take a picture of the canvas' size: the input that it comes in by.
OF_CANVAS_SIZE = {"keep_subject": "reference", "steer_to_picture": "picture"}


def review_steering(view: View) -> Iterator[Refusal]:
    """At a node that samples: pictures of another size than the canvas, inverted ones on another schedule,
    and what regions avoid in vain."""
    yield from _sizes(view)
    yield from _inverted(view)
    yield from _avoided(view)


def size_of(view: View) -> tuple[int, int] | None:
    """Width and height in pixels of the latent that a node gives, as far as its settings tell."""
    if view.kind == "invert_picture":
        return next((size_of(picture) for picture in view.feeding("picture")), None)
    width, height = (view.widgets.get(name) for name in ("width", "height"))
    if view.kind not in ("empty_latent", "encode_image") or not (width and height):
        return None
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def _sizes(view: View) -> Iterator[Refusal]:
    canvas = next((size_of(source) for source in view.feeding("latent")), None)
    if canvas is None or any(wrap.kind == "tiles" for wrap in view.feeding("wraps")):
        return
    for steering in (*view.feeding("attachments"), *view.feeding("wraps")):
        socket = OF_CANVAS_SIZE.get(steering.kind, "")
        for picture in steering.feeding(socket) if socket else ():
            size = size_of(picture)
            if size is not None and size != canvas:
                yield Refusal(
                    f"{picture.title!r} makes {size[0]}x{size[1]} pixels, and the canvas has "
                    f"{canvas[0]}x{canvas[1]}.",
                    f"Set its width to {canvas[0]} and its height to {canvas[1]}.",
                    socket,
                    at=steering,
                )


def _inverted(view: View) -> Iterator[Refusal]:
    """Inverted pictures whose path has other noise levels than the run."""
    own = known_sigmas(view)
    if own is None or not own.steps:
        return
    for source in view.feeding("latent"):
        path = known_sigmas(source) if source.kind == "invert_picture" else None
        if path is not None and abs(path.values[0] - own.values[0]) > NEAR:
            yield Refusal(
                f"{source.title!r} ends at noise level {path.values[0]:.4g}, and {view.title!r} begins at "
                f"{own.values[0]:.4g}.",
                f"Connect one Schedule to both {source.title!r} and {view.title!r}.",
                "sigmas",
            )
    for control in view.feeding("attachments"):
        puts_back = control.technique == "inject_v" and control.widgets.get("steps")
        if control.technique != "force" and not puts_back:
            continue
        for source in control.feeding("inversion"):
            path = known_sigmas(source) if source.kind == "invert_picture" else None
            found = "" if path is None else _apart(own, path, every=bool(puts_back))
            if found:
                yield Refusal(
                    f"{control.title!r} cannot follow {source.title!r}, whose schedule is not that of "
                    f"{view.title!r}: {found}.",
                    f"Connect one Schedule to both {source.title!r} and {view.title!r}.",
                    "sigmas",
                )


def _apart(own: Sigmas, path: Sigmas, *, every: bool) -> str:
    """What of a run's noise levels does not lie on the path of a picture; empty if all do. `every`: none of
    the path's may lie between them."""
    places = [next((i for i, one in enumerate(path.values) if abs(one - s) < NEAR), -1) for s in own.values]
    if -1 in places:
        return f"its path has no noise level {own.values[places.index(-1)]:.4g}"
    if every and any(other != one + 1 for one, other in pairwise(places)):
        return f"it has {path.steps} steps, and the run {own.steps}"
    return ""


def _avoided(view: View) -> Iterator[Refusal]:
    """Negative prompts of regions in a run that has no negative side."""
    controls = view.feeding("attachments")
    if asks_negative(view) or any(c.kind in ("nag", "nasa") and c.feeding("layout") for c in controls):
        return
    for control in controls:
        for layout in control.feeding("layout") if control.kind == "regional_prompts" else ():
            for at, entry in islice(regions_of(layout), MOST_REGIONS):
                text = entry.get("negative")
                if not isinstance(text, str) or not text.strip() or entry.get("strength") == 0:
                    continue
                called = entry.get("name") or entry.get("id") or at.title
                yield Refusal(
                    f"Region {called!r} avoids {text.strip()[:60]!r} through guidance, and this run has "
                    "none: nothing comes of it.",
                    "Set cfg_scale above 1, or connect the layout to Avoid (NAG) too: it needs none.",
                    "negative" if at.kind == "add_region" else "regions",
                    "warning",
                    at,
                )


def review_watched(view: View) -> Iterator[Refusal]:
    """Words that were not watched in the run whose maps a node shows or cuts out."""
    wanted, of = view.widgets.get("word"), view.widgets.get("of")
    kind = {"words": "watch_words", "concepts": "watch_concepts"}.get(str(of))
    groups: dict[tuple[str, ...], None] = {}
    for sample in view.feeding("seen"):
        for watch in sample.feeding("attachments"):
            if watch.kind == kind:
                found = _names(watch)
                if found is None:
                    return
                groups[tuple(found)] = None
    known = [word for words in once_each(tuple(groups)) for word in words]
    if isinstance(wanted, str) and known:
        try:
            word_columns(known, wanted, len(known))
        except StudioError as error:
            yield refused(error)


def _names(watch: View) -> list[str] | None:
    """The words that a node watches; None where only the run can tell."""
    given = watch.widgets.get("words" if watch.kind == "watch_words" else "concepts")
    if not isinstance(given, str):
        return None
    named = [piece.strip() for piece in given.split(",") if piece.strip()]
    if named or watch.kind == "watch_concepts":
        return named
    prompt = prompt_of(watch, "positive")
    return None if prompt is None else [word.text for word in words_of(prompt)]


def review_kept(view: View) -> Iterator[Refusal]:
    """At Invert picture: values of more steps than there are."""
    count, steps = view.widgets.get("keep_values"), run_steps(view)
    if isinstance(count, int) and steps and count > len(steps):
        yield Refusal(
            f"The values of {count} steps cannot be kept; the schedule has {len(steps)}.",
            f"Possible: 0 to {len(steps)}.",
            "keep_values",
        )


def review_put_back(view: View) -> Iterator[Refusal]:
    """At Put values back: values of more steps than were kept."""
    steps = view.widgets.get("steps")
    for source in view.feeding("inversion"):
        kept = source.widgets.get("keep_values") if source.kind == "invert_picture" else None
        if isinstance(steps, int) and isinstance(kept, int) and steps > kept:
            yield Refusal(
                f"The values of {steps} steps cannot be put back; {source.title!r} keeps those of {kept}.",
                f"Raise its keep_values to {steps}, or put back at most {kept}.",
                "steps",
            )
