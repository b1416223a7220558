"""The graph of a picture with its words watched: those of its prompt, and those of its regions.

Watching changes no picture, so such a run is made for its maps alone; nothing of it is stored in the history.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from studio.errors import StudioError
from studio.graph.document import Edge, Graph, Node

WORDS, REGIONS, ALL = "weft_words", "weft_regions", "weft_watch"
WATCHERS = {"watch_words": WORDS, "watch_regions": REGIONS}
# what stands between a painted picture and its sampler; anything else has changed it since
PLAIN = ("save_image", "decode")


def watched(document: Graph, picture: str, prompt: str, *, every: bool = False) -> tuple[Graph, str]:
    """The document with watchers at the sampler behind the node `picture`, and that sampler's id.

    `every`: the map of each block and step is kept. `prompt`: what the sampler's positive prompt says;
    without a word to watch only its regions are. What is watched already stays. Raises StudioError where
    there is nothing that could be watched.
    """
    from studio.models.words import FILLERS, words_of

    sampler = next((id for id in behind(document, picture) if document.node(id).kind == "sample"), None)
    fed = {edge.target: edge.source for edge in document.edges}
    if sampler is None or (sampler, "model") not in fed or (sampler, "positive") not in fed:
        raise StudioError(
            "The words of this picture cannot be watched.",
            hint="It was changed after it was painted. Take one that Create or Regions has made.",
        )
    steering = list(_attached(document, (sampler, "attachments")))
    there = {document.node(id).kind for id, _ in steering}
    regions = next((at for at in steering if document.node(at[0]).kind == "regional_prompts"), None)
    spoken = any(word.text.casefold() not in FILLERS for word in words_of(prompt))
    given = {
        "watch_words": ("positive", fed[sampler, "positive"]) if spoken else None,
        "watch_regions": None if regions is None else ("regions", regions),
    }
    added = {kind: at for kind, at in given.items() if at is not None and kind not in there}
    if not added:
        if there & WATCHERS.keys():
            return document, sampler
        raise StudioError("This picture has no words to watch.", hint="Write a prompt, or draw a region.")
    nodes, edges, sockets = [Node(ALL, "together")], [], ["first", "second", "third"]
    if (sampler, "attachments") in fed:
        edges.append(Edge(fed[sampler, "attachments"], (ALL, sockets.pop(0))))
    for kind, (socket, source) in added.items():
        id = WATCHERS[kind]
        nodes.append(Node(id, kind, {"every": True} if every else {}))
        edges += [
            Edge(fed[sampler, "model"], (id, "model")),
            Edge(source, (id, socket)),
            Edge((id, "attachment"), (ALL, sockets.pop(0))),
        ]
    kept = tuple(edge for edge in document.edges if edge.target != (sampler, "attachments"))
    last = Edge((ALL, "attachments"), (sampler, "attachments"))
    return replace(document, nodes=(*document.nodes, *nodes), edges=(*kept, *edges, last)), sampler


def behind(document: Graph, node: str) -> Iterator[str]:
    """A node and those that its picture comes from as it was painted, the nearest first."""
    ahead, seen = [node], set()
    while ahead:
        id = ahead.pop(0)
        if id in seen or id not in document.by_id:
            continue
        seen.add(id)
        yield id
        if document.node(id).kind in PLAIN:
            ahead += [edge.source[0] for edge in document.edges if edge.target[0] == id]


def _attached(document: Graph, socket: tuple[str, str]) -> Iterator[tuple[str, str]]:
    """The outputs that reach a socket, through nodes that only collect them."""
    ahead, seen = [socket], set()
    while ahead:
        at = ahead.pop()
        for edge in document.edges:
            id = edge.source[0]
            if edge.target != at or id in seen or id not in document.by_id:
                continue
            seen.add(id)
            if document.node(id).kind == "together":
                ahead += [other.target for other in document.edges if other.target[0] == id]
            else:
                yield edge.source
