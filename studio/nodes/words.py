"""Words that count more or less."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NamedTuple

from studio.api import (
    Attachment,
    Conditioning,
    Context,
    Model,
    Prompt,
    Refusal,
    Slider,
    StudioError,
    Text,
    View,
    node,
)
from studio.controls.reweight import MOST_WEIGHT, WordWeight
from studio.models.family import parts_of
from studio.models.prompt_weights import read_weights
from studio.models.words import check_read, find_words
from studio.nodes.prompt import encoded, outline, refused, review_carried, review_cut, review_unclosed
from studio.nodes.regions import review_range
from studio.nodes.see import review_words


def review_weight(view: View) -> Iterator[Refusal]:
    """Beside the words: a weight of nothing, which cannot be made up for."""
    yield from review_words(view)
    given = view.widgets
    if given.get("renormalise") and given.get("weight") == 0 and str(given.get("words", "")).strip():
        yield Refusal(
            "A weight of 0 cannot be renormalised.",
            "Give a little more, such as 0.01, or switch renormalise off.",
            "weight",
        )


@node(group="Steer", title="Word weight", technique="weight", review=review_weight)
def word_weight(
    model: Model,
    positive: Conditioning,
    words: Text = "",
    weight: Annotated[float, Slider(0, MOST_WEIGHT, 0.05)] = 1.3,
    renormalise: bool = False,
    start: Annotated[float, Slider(0, 1, 0.05)] = 0.0,
    end: Annotated[float, Slider(0, 1, 0.05)] = 1.0,
) -> Attachment:
    """Let words of the prompt count more or less: what the picture takes from them is multiplied.

    Weigh all the words of a thing, its place too: text encoders carry a word on into those after it, and
    there the picture finds what you took from the word alone. On scenes-sd3 one word alone hardly acts, up or
    down; a thing with all its words is smaller at 0.5 and at 0 gone in half of the pictures. Where one word
    is to act, use Emphasised prompt: it weighs the encoded text.

    positive: the prompt that leads Sample
    words: such as "a blue house on the right"; several apart by commas; empty = none
    weight: 1 = as written, 0 = not read by the picture, 2 = twice as much
    renormalise: the other words and the picture's own parts give way
    start: from which part of the steps on
    end: up to which part of the steps
    """
    found = (find_words(parts_of(model), positive.text, words),) if words.strip() else ()
    weighed = tuple((span, weight) for span in found)
    return WordWeight(weighed, renormalise, start, end, led_by=positive.text)  # type: ignore[return-value]


class WeightedPrompt(NamedTuple):
    """The prompt without its weights, and the control that brings them in."""

    conditioning: Conditioning
    attachment: Attachment


def review_weights(view: View) -> Iterator[Refusal]:
    """Beside what `review_written` finds: a range of no steps, and models that cannot be steered."""
    yield from review_range(view)
    yield from review_carried(view)
    yield from review_written(view)


def review_written(view: View) -> Iterator[Refusal]:
    """Weights that nobody can read, and weighed words that the model does not read."""
    text, model = view.widgets.get("text"), outline(view)
    if not isinstance(text, str):
        return
    try:
        read = read_weights(text)
        if model is not None:
            for start, stop, _ in read.weights:
                check_read(read.text, [(start, stop)], model.unread(read.text))
    except StudioError as error:
        yield refused(error, "text")
        return
    yield from review_unclosed(text)
    yield from review_cut(model, read.text, "text", level="warning")


@node(group="Prompt", title="Weighted prompt", technique="weight", review=review_weights)
def weighted_prompt(
    model: Model,
    text: Prompt = "",
    renormalise: bool = False,
    start: Annotated[float, Slider(0, 1, 0.05)] = 0.0,
    end: Annotated[float, Slider(0, 1, 0.05)] = 1.0,
    *,
    ctx: Context,
) -> WeightedPrompt:
    """A prompt in which words count more or less: "a (red:1.4) star". Take the conditioning to Sample and the
    attachment to its attachments. Without weights it is an ordinary prompt.

    Weigh all the words of a thing, its place too, such as "(a blue house on the right:0.5)": one word alone
    hardly acts, as text encoders carry it on into the words after it. Where one word is to act, use
    Emphasised prompt: it weighs the encoded text.

    text: (words:1.4) counts them 1.4 times, from 0 to 4; other brackets are text; \\( and \\) always are
    renormalise: the other words and the picture's own parts give way
    start: from which part of the steps on the weights count
    end: up to which part of the steps
    """
    ctx.policy.check_prompt(text, socket="text")
    parts, read = parts_of(model), read_weights(text)
    conditioning = encoded(model, read.text, ctx)
    words = tuple((find_words(parts, read.text, chars=(a, b)), weight) for a, b, weight in read.weights)
    control = WordWeight(words, renormalise, start, end, led_by=read.text)
    return WeightedPrompt(conditioning, control)  # type: ignore[arg-type]
