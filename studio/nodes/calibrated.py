"""What was measured about a model, as settings for other nodes."""

from __future__ import annotations

from typing import Annotated

from studio.api import Choice, Context, Model, node

# what is asked -> (kind, key, the field that holds the blocks)
MEASURED = {
    "words": ("map_blocks", "scenes", "chosen"),
    **{what: ("localiser", what, "best") for what in ("colour", "kind", "pattern", "background", "place")},
}


@node(group="Model", title="Best blocks", always_run=True)
def best_blocks(model: Model, what: Annotated[str, Choice(*MEASURED)] = "words", *, ctx: Context) -> str:
    """The blocks of a model that are best for something, as measured on this computer or told by its card;
    for the fields "look at" and "blocks" of the nodes that steer.

    what: words = where words are located (eval blocks); the others = which blocks carry that (eval localise)
    """
    kind, key, field = MEASURED[what]
    found = (ctx.models.calibration(model, kind, key) or {}).get(field)
    blocks = [index for index in found if isinstance(index, int)] if isinstance(found, list | tuple) else []
    if not blocks:
        command = "eval blocks" if what == "words" else f"eval localise --only {what}"
        ctx.warn(f"Nobody has measured this for {model.title}: run `python -m studio {command}`.")
    return ", ".join(map(str, blocks))
