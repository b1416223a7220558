"""The ready workflows as cards: titles, one line of help each, and which card a document came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.errors import StudioError, did_you_mean
from studio.graph.document import Graph
from studio.graph.inline import inline
from studio.ui.fitted import fitted
from studio.ui.forms import Field, missing_kinds, panel

if TYPE_CHECKING:
    from studio.studio import Studio

# Group, title and help by file name, in the order of the cards. A workflow that is not listed comes last,
# under its `title` and `help` if it carries them, else under its file name.
CARDS: dict[str, tuple[str, str, str]] = {
    "text-to-image": ("Make", "Text to picture", "Describe a scene."),
    "few-step": ("Make", "Fast", "The quickest: four steps are enough."),
    "step-cache": ("Make", "Faster: step cache", "Steps that are much alike share their work."),
    "calm-guidance": ("Make", "Guidance that does not burn", "Firm on the prompt, with natural colours."),
    "regions": ("Make", "Regions", "A prompt of its own for each part of the picture."),
    "plan-from-a-sentence": ("Make", "Plan from a sentence", "The sentence is laid out in boxes first."),
    "full-start": ("Make", "Full start, fast finish", "The full model lays it out, the fast one paints it."),
    "anytime": ("Make", "Stop any time", "A finished picture early, better the longer it goes."),
    "three-moods": ("Make", "Three moods", "One scene three times, by one part of the graph."),
    "panels": ("Make", "Panels", "Several pictures of the same things."),
    "emphasis": ("Make", "Emphasis", "Words say more or less: (star:1.5)."),
    "word-weight": ("Make", "Word weight", "The picture looks at words more or less."),
    "avoid-without-cfg": ("Make", "Avoid", "Keep things out, also of fast models."),
    "avoid-nasa": ("Make", "Avoid, by tokens", "An older way to keep things out, for comparison."),
    "edit-by-prompt": ("Change", "Edit by prompt", "Change words, keep the composition."),
    "change-words": ("Change", "Change words", "Other words in some blocks, with the old picture kept."),
    "keep-the-look": ("Change", "Keep the look", "Another scene, the same colours and surface."),
    "keep-the-subject": ("Change", "Keep the subject", "The same thing in another scene."),
    "mask-to-region": ("Change", "Replace a thing", "Find a word in the picture, paint another there."),
    "edit-picture": ("Change", "Edit a picture", "Say what it shows and what it should show."),
    "edit-a-thing": ("Change", "Edit only a thing", "Everything around it stays, to the last bit."),
    "edit-inverted-picture": ("Change", "Edit, close to it", "Slower, and nearer to the picture."),
    "keep-picture-values": ("Change", "Keep its structure", "A quick edit that holds shapes and places."),
    "restyle-picture": ("Change", "Restyle a picture", "Another look, led by the picture."),
    "steer-to-picture": ("Change", "Steer to a picture", "A new picture that leans on an old one."),
    "paint-around-picture": ("Change", "Paint around", "A picture pasted in, the scene around it new."),
    "restore-picture": ("Change", "Restore a picture", "The picture behind a blurred or small one."),
    "upscale": ("Change", "Make it larger", "Twice the size; its detail can be painted anew, by tiles."),
    "see-words": ("See", "See words", "Where in the picture each word acts."),
    "see-regions": ("See", "See regions", "Where in the picture each region's words act."),
    "see-concepts": ("See", "See concepts", "Where things are that the prompt does not name."),
    "see-blocks": ("See", "See blocks", "What each block of the model does."),
    "estimates": ("See", "See it grow", "What the model expects at each step."),
    "mask-from-words": ("See", "Cut out a word", "A mask of the thing that a word means."),
}
OTHERS = "More"
KEPT = ("prompt", "avoid", "seed", "model", "width", "height")
Shape = tuple[frozenset[tuple[str, str]], frozenset[tuple[tuple[str, str], tuple[str, str]]]]


@dataclass(frozen=True)
class Card:
    """One ready workflow as the page offers it; `name` is its file's."""

    name: str
    group: str
    title: str
    help: str

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "group": self.group, "title": self.title, "help": self.help}


class Templates:
    """The ready workflows that run here: a broken one, or one with a missing node or model, is left out."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._start: dict[str, Graph] = {}
        self.cards: list[Card] = []
        here = self._here()
        found = {path.stem for path in studio.settings.workflows_folder.glob("*.json")}
        for name in sorted(found, key=_place):
            try:
                document = studio.workflow(name)
            except StudioError:
                continue
            whole = not missing_kinds(document, studio.registry)
            whole = whole and _named(inline(document, studio.registry).graph) <= here
            if whole and panel(document, studio.registry):
                self._start[name] = document
                self.cards.append(_card(name, document))

    def _here(self) -> set[str]:
        """The references of the models and LoRAs that come with this studio."""
        cards = self._studio.model_cards()
        return {str(card["ref"]) for card in cards} | {info.ref for info in self._studio.models.loras()}

    def name_of(self, document: Graph) -> str:
        """The template a document has the nodes and edges of; "" for a graph of one's own."""
        shape = _shape(document)
        return next((name for name, start in self._start.items() if _shape(start) == shape), "")

    def open(self, name: str, before: Graph | None = None, kept: Graph | None = None) -> Graph:
        """The document of a template, with what a person set in `before` where both have it.

        `kept`: how this page left the template; used if it still is that template, and as it is if it holds a
        layout, whose prompt and shape belong to it. Raises StudioError.
        """
        if name not in self._start:
            raise StudioError(
                f"There is no template {name[:60]!r}.",
                hint=did_you_mean(name, self._start) or "Reload the page.",
            )
        opened = kept if kept is not None and self.name_of(kept) == name else self._start[name]
        if before is None or (opened is kept and self._laid_out(opened, name)):
            return opened
        return self._taken_over(before, opened)

    def returned(self, name: str, kept: Graph | None) -> bool:
        """Whether a template that was left so is another than its start, what comes along set aside."""
        if kept is None or name not in self._start or self.name_of(kept) != name:
            return False
        return self._laid_out(kept, name) or any(
            _value(kept, field) != _value(self._start[name], field)
            for field in panel(self._start[name], self._studio.registry)
            if field["role"] not in KEPT
        )

    def stayed_behind(self, before: Graph, after: Graph) -> bool:
        """Whether a prompt that a person wrote in `before` did not come along to `after`."""
        old, new = self._roles(before).get("prompt"), self._roles(after).get("prompt")
        if old is None or new is None or "panels" in (old["widget"], new["widget"]):
            return False
        start, text = self._start.get(self.name_of(before)), _value(before, old)
        return text != _value(after, new) and (start is None or text != _value(start, old))

    def _laid_out(self, document: Graph, name: str) -> bool:
        """Whether it holds regions that a person drew."""
        start = self._start[name]
        fields = [f for f in panel(start, self._studio.registry) if f["kind"] == "regions"]
        return any(_value(document, f) and _value(document, f) != _value(start, f) for f in fields)

    def _taken_over(self, before: Graph, after: Graph) -> Graph:
        """`after` with the seed of `before`, and its prompt, size and model unless nobody changed them.

        A prompt stays behind where other settings of `after` name words that it lacks.
        """
        start = self._start.get(self.name_of(before))
        old, new = self._roles(before), self._roles(after)
        for role in KEPT:
            if role not in old or role not in new or "panels" in (old[role]["widget"], new[role]["widget"]):
                continue
            value = _value(before, old[role])
            if role == "seed" or start is None or value != _value(start, old[role]):
                carried = after.set(str(new[role]["node"]), str(new[role]["widget"]), value)
                if role == "prompt" and self._faults(carried, new[role]) - self._faults(after, new[role]):
                    continue
                own, after = _value(after, new[role]), carried
                if role == "model":
                    after = self._suited(after, str(value), str(own))
        return after

    def _faults(self, document: Graph, besides: Field) -> set[tuple[str, str]]:
        """Node and socket of what is wrong with a document anywhere but in one field."""
        found = self._studio.check(document)
        places = {(str(p.node), str(p.socket)) for p in found if p.level == "error"}
        return places - {(str(besides["node"]), str(besides["widget"]))}

    def _suited(self, document: Graph, model: str, before: str) -> Graph:
        """The document, made for the model `before`, with the settings that another asks for."""
        cards = {str(card["ref"]): card for card in self._studio.model_cards()}
        roles = self._roles(document)
        sides = [_value(document, roles[side]) if side in roles else 0 for side in ("width", "height")]
        width, height = (side if isinstance(side, int) else 0 for side in sides)
        registry = self._studio.registry
        return fitted(document, registry, cards.get(before, {}), cards.get(model, {}), (width, height))

    def _roles(self, document: Graph) -> dict[str, Field]:
        return {str(f["role"]): f for f in panel(document, self._studio.registry) if f["role"]}


def _value(document: Graph, field: Field) -> object:
    return document.node(str(field["node"])).widgets.get(str(field["widget"]), field["default"])


def _named(document: Graph) -> set[str]:
    """The models and LoRAs that come with the studio and that a document names."""
    nodes = [node for node in document.nodes if node.kind in ("load_model", "load_lora")]
    named = {str(node.widgets.get(name)) for node in nodes for name in ("model", "lora")}
    return {ref for ref in named if ref.startswith("embedded:")}


def _shape(document: Graph) -> Shape:
    nodes = frozenset((node.id, node.kind) for node in document.nodes)
    return nodes, frozenset((edge.source, edge.target) for edge in document.edges)


def _place(name: str) -> tuple[int, str]:
    listed = list(CARDS)
    return (listed.index(name) if name in listed else len(listed)), name


def _card(name: str, document: Graph) -> Card:
    title, says = document.extra.get("title"), document.extra.get("help")
    group, listed, line = CARDS.get(name, (OTHERS, name.replace("-", " ").capitalize(), ""))
    return Card(
        name, group, title if isinstance(title, str) else listed, says if isinstance(says, str) else line
    )
