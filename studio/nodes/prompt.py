"""Words become conditionings."""

from __future__ import annotations

from studio.api import Conditioning, Context, Model, Prompt, node
from studio.models.family import parts_of
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
    return conditioning
