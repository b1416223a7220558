"""Words become conditionings; what of a prompt and of its model can be told before a run."""

from __future__ import annotations

from collections.abc import Iterator

from studio.api import Conditioning, Context, Model, Prompt, Refusal, StudioError, View, node
from studio.models.embedded import composed_card
from studio.models.family import ADAPTERS, parts_of
from studio.models.outline import Outline, outline_of, with_card
from studio.models.prompt_weights import has_weights, read_weights, unclosed
from studio.models.references import lora_card, lora_named
from studio.models.text import encode_prompt as encode
from studio.models.text import too_long
from studio.models.words import check_read, places_of

# Nodes whose prompt has weights in it.
WEIGHED = ("weighted_prompt", "emphasised_prompt")


def outline(view: View, socket: str = "model") -> Outline | None:
    """What can be told of the model that feeds a node, with the LoRAs laid over it; None if that is not one
    of this computer."""
    fed = view.feeding(socket)
    if len(fed) != 1 or fed[0].kind not in ("load_model", "load_lora"):
        return None
    if fed[0].kind == "load_model":
        return outline_of(fed[0].widgets.get("model"))
    base, ref = outline(fed[0]), fed[0].widgets.get("lora")
    if base is None or fed[0].widgets.get("strength") == 0:
        return base
    try:
        lora = lora_named(str(ref))
    except StudioError:
        return base
    return with_card(base, composed_card(base.card, lora_card(base.card, lora, base.title)))


def strange_prompts(view: View, model: Outline | None, other: str, hint: str) -> Iterator[Refusal]:
    """The prompts at a node that were encoded for another family than this model's; `other` leads over to
    it."""
    for socket in ("positive", "negative"):
        own = next((outline(source) for source in view.feeding(socket)), None)
        if model is not None and own is not None and own.family != model.family:
            yield Refusal(
                f"The {socket} prompt was encoded for {own.title} ({own.family}){other} "
                f"{model.title} ({model.family}).",
                hint,
                socket,
            )


def prompt_of(view: View, socket: str) -> str | None:
    """The text behind a conditioning that feeds a node; None if only the run can tell."""
    fed = view.feeding(socket)
    source = fed[0] if len(fed) == 1 else None
    if source is None:
        return None
    if source.kind == "change_words":
        return prompt_of(source, "prompt")
    if source.kind == "regional_prompts":
        return layout_prompt(source)
    text = source.widgets.get("text")
    if not isinstance(text, str) or source.kind not in ("encode_prompt", *WEIGHED):
        return None
    if source.kind == "encode_prompt":
        return text
    try:
        return read_weights(text).text
    except StudioError:
        return None


def layout_prompt(view: View, socket: str = "layout") -> str | None:
    """What the layout that feeds a node says of the whole picture; None if only the run can tell."""
    fed = view.feeding(socket)
    while len(fed) == 1 and fed[0].kind == "add_region":
        fed = fed[0].feeding("layout")
    text = fed[0].widgets.get("prompt") if len(fed) == 1 and fed[0].kind == "layout" else None
    return text if isinstance(text, str) else None


def refused(error: StudioError, socket: str = "") -> Refusal:
    """A refusal in the words of an error that the run would raise."""
    return Refusal(error.message, error.hint, socket or error.socket)


def review_cut(
    model: Outline | None, text: str, socket: str, what: str = "", level: str = "error"
) -> Iterator[Refusal]:
    """A text that the model does not read to its end. `what`: whose it is, to begin the sentence with."""
    end = len(text) if model is None else model.unread(text)
    if model is not None and end < len(text):
        said = too_long(text[end:].strip(), model.limit)
        yield Refusal(f"{what}: {said}" if what else said, "Say it in fewer words.", socket, level)


def review_there(model: Outline | None, prompt: str, words: str, socket: str) -> Iterator[Refusal]:
    """A word that the prompt does not have, or that stands where the model does not read on."""
    try:
        for places in places_of(prompt, words):
            check_read(prompt, places, len(prompt) if model is None else model.unread(prompt))
    except StudioError as error:
        yield refused(error, socket)


def review_carried(view: View) -> Iterator[Refusal]:
    """A model whose network attention controls do not know."""
    model = outline(view)
    if model is not None and not model.controlled:
        yield Refusal(
            f"{view.title!r} cannot work with {model.title}: its network, {model.network}, is not one that "
            "can be steered or looked into.",
            f"Use a model with {', '.join(ADAPTERS)}.",
            "model",
        )


def review_unclosed(text: str, socket: str = "text") -> Iterator[Refusal]:
    """The beginning of a weight whose bracket is never closed: a warning."""
    begun = unclosed(text)
    if begun:
        yield Refusal(
            f"The bracket of {begun!r} is never closed, so it is read as text and weighs nothing.",
            f"Close it behind the number: {begun}). For a bracket that is text, write \\(.",
            socket,
            "warning",
        )


def review_prompt(view: View) -> Iterator[Refusal]:
    """What of the prompt the model will not read: a warning."""
    text = view.widgets.get("text")
    if isinstance(text, str):
        yield from review_unclosed(text)
        yield from review_cut(outline(view), text, "text", level="warning")


def encoded(model: Model, text: str, ctx: Context) -> Conditioning:
    """The conditioning of a prompt; what the model does not read or know of it is told and noted."""
    conditioning, warnings, unknown = encode(parts_of(model), text, model.title, ctx.kept)
    for warning in warnings:
        ctx.warn(warning)
    if unknown:
        ctx.note("unknown_words", unknown)
    return conditioning


@node(group="Prompt", review=review_prompt)
def encode_prompt(model: Model, text: Prompt = "", *, ctx: Context) -> Conditioning:
    """Turn a prompt into what the model understands; words that it does not know are named.

    text: what the picture should show; for the negative side, what it should avoid; may be empty
    """
    ctx.policy.check_prompt(text, socket="text")
    conditioning = encoded(model, text, ctx)
    if has_weights(text):
        ctx.warn("Weights such as (star:1.3) are read as words here; use Emphasised prompt for them.")
    return conditioning
