"""A prompt in which words say more or less, by what they add to its encoded text."""

from __future__ import annotations

from collections.abc import Iterator

from studio.api import Conditioning, Context, Model, Prompt, Refusal, StudioError, View, node
from studio.models.emphasis import check_weights, emphasised
from studio.models.family import parts_of
from studio.models.prompt_weights import read_weights
from studio.nodes.prompt import encoded, refused
from studio.nodes.words import review_written


def review_emphasis(view: View) -> Iterator[Refusal]:
    """Weights that nobody can read, and weighed words that the model does not read."""
    found = list(review_written(view))
    yield from found
    text = view.widgets.get("text")
    if isinstance(text, str) and not any(refusal.level == "error" for refusal in found):
        read = read_weights(text)
        try:
            check_weights(read.text, read.weights)
        except StudioError as error:
            yield refused(error, "text")


@node(group="Prompt", title="Emphasised prompt", review=review_emphasis)
def emphasised_prompt(model: Model, text: Prompt = "", *, ctx: Context) -> Conditioning:
    """A prompt in which words say more or less: "a (red:1.4) star". Without weights it is Encode prompt.

    A word is weighed by what it adds to the encoded text, also in the words after it, so that one word alone
    acts: at 0 a comma stands in its place, at 2 it says twice as much. Words of the same weight are weighed
    together. It costs one more encoding for each weight, no more network calls, and works with every model.
    From 2 on other things of the picture suffer.

    text: (words:1.4) counts them 1.4 times, from 0 to 4; other brackets are text; \\( and \\) always are
    """
    ctx.policy.check_prompt(text, socket="text")
    parts, read = parts_of(model), read_weights(text)
    conditioning = encoded(model, read.text, ctx)
    return emphasised(parts, conditioning, read.weights, ctx.check)
