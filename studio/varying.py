"""Variations of a picture: it is laid under noise and painted again by its own settings, with other seeds.

The picture as a start is SDEdit's (arXiv 2108.01073): what of the schedule is left decides how far it may go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from studio.errors import StudioError
from studio.graph.document import Edge, Graph, Node
from studio.graph.topology import ancestors
from studio.watching import behind

PLAIN = ("schedule", "found_schedule")  # with a strength of their own
STRENGTH = 0.85  # the part of the steps that is painted again
NAMES = ("encode", "sample", "decode", "save")
ROW = 190  # pixels between two variations in the graph


def variations(
    document: Graph, picture: str, seeds: Sequence[int], strength: float = STRENGTH
) -> tuple[Graph, tuple[str, ...]]:
    """The graph that paints variations of what the node `picture` saves, one for each seed, and their output
    nodes. Raises StudioError for a picture that was changed after it was painted, or painted in no plain
    schedule."""
    way = list(behind(document, picture))
    sampler = next((id for id in way if document.node(id).kind == "sample"), None)
    decode = next((id for id in way if document.node(id).kind == "decode"), None)
    fed = {edge.target: edge for edge in document.edges}
    sigmas = fed.get((sampler or "", "sigmas"))
    plain = sigmas is not None and document.node(sigmas.source[0]).kind in PLAIN
    model = fed.get((sampler or "", "model"))
    if sampler is None or decode is None or sigmas is None or model is None or not plain:
        raise StudioError(
            "This picture cannot be varied.",
            hint="Take one as it was painted, or change it in Edit.",
        )
    first = document.node(sigmas.source[0])
    left, top = _beside(document)
    taken = set(document.by_id)
    again = _free("again", taken)
    nodes = [replace(first, id=again, title="Part of the schedule", pos=(left, top - ROW),
                     widgets={**first.widgets, "strength": strength})]  # fmt: skip
    edges = [
        replace(edge, target=(again, edge.target[1])) for edge in document.edges if edge.target[0] == first.id
    ]
    same = [e for e in document.edges if e.target[0] == sampler and e.target[1] not in ("latent", "sigmas")]
    outputs = []
    for number, seed in enumerate(seeds, 1):
        encode, sample, show, save = (_free(f"{name}_{number}", taken) for name in NAMES)
        high = top + ROW * (number - 1)
        nodes += [
            Node(encode, "encode_image", {"seed": int(seed)}, title=f"Start {number}", pos=(left, high)),
            Node(sample, "sample", {}, title=f"Paint {number}", pos=(left + 300, high)),
            Node(show, "decode", {}, title=f"Show {number}", pos=(left + 600, high)),
            Node(save, "save_image", {"name": f"variation-{number}"}, title=f"Variation {number}",
                 pos=(left + 900, high)),
        ]  # fmt: skip
        edges += [
            Edge(model.source, (encode, "model")),
            Edge((decode, "image"), (encode, "image")),
            *(replace(edge, target=(sample, edge.target[1])) for edge in same),
            Edge((encode, "latent"), (sample, "latent")),
            Edge((again, "sigmas"), (sample, "sigmas")),
            Edge(model.source, (show, "model")),
            Edge((sample, "latent"), (show, "latent")),
            Edge((show, "image"), (save, "image")),
        ]
        outputs.append(save)
    needed = ancestors(document, [decode])
    made = replace(
        document,
        nodes=(*(node for node in document.nodes if node.id in needed), *nodes),
        edges=(*(edge for edge in document.edges if edge.target[0] in needed), *edges),
        exposed=tuple(shown for shown in document.exposed if shown.node in needed),
    )
    return made, tuple(outputs)


def _free(id: str, taken: set[str]) -> str:
    """An id that no node has yet, which is taken now."""
    while id in taken:
        id += "_"
    taken.add(id)
    return id


def _beside(document: Graph) -> tuple[float, float]:
    """A place right of all nodes."""
    places = [node.pos for node in document.nodes if len(node.pos) == 2]
    return max((x for x, _ in places), default=0.0) + 320, min((y for _, y in places), default=0.0) + ROW
