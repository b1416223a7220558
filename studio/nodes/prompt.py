"""Words become conditionings."""

from __future__ import annotations

from studio.api import Conditioning, Context, Model, Prompt, node
from studio.models.family import parts_of
from studio.models.prompt_weights import has_weights
from studio.models.text import encode_prompt as encode


@node(group="Prompt")
def encode_prompt(model: Model, text: Prompt = "", *, ctx: Context) -> Conditioning:
    """Turn a prompt into what the model understands; words that it does not know are named.

    text: what the picture should show; for the negative side, what it should avoid; may be empty
    """
    ctx.policy.check_prompt(text, socket="text")
    conditioning, warnings, unknown = encode(parts_of(model), text, model.title)
    for warning in warnings:
        ctx.warn(warning)
    if unknown:
        ctx.note("unknown_words", unknown)
    if has_weights(text):
        ctx.warn("Weights such as (star:1.3) are read as words here; use Weighted prompt to weigh words.")
    return conditioning
