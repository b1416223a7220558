"""The words of the graph editor in English and German: none is left out, and the patterns are sound."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from studio.graph.document import load
from studio.settings import ROOT, Settings
from studio.ui.graph_view import registry_json

SOURCES = ROOT / "assets" / "graph" / "src"
TABLE = json.loads((ROOT / "assets/ui/lang/de.json").read_text("utf-8"))
PAGE, EDITOR = ([re.compile(pattern) for pattern, _ in TABLE[name]] for name in ("patterns", "graph"))

# attributes and calls whose text nobody reads
UNREAD = re.compile(
    r"""(?: (?:className|class|style|from|id|key|name|type|role|href|icon|side|transform|shape|import)
    |data-[\w-]+|accept|setAttribute|closest|matches|querySelector(?:All)?|getData|setData|cells\.set|useCell|matchMedia
    |CSS\.escape|startsWith|includes|trigger|emit|on)\s*[=:(]\s*[{(]?\s*$""",
    re.VERBOSE,
)
NO_WORDS = re.compile(
    r"""M[\d.]+ [\d.]+ .* | [\w.-]+\.(?:jsx?|css) | \.?[a-z]+[-:][\w\0-]*.* | (?:Ctrl|Shift|Alt)(?:\+\S+)?
    |Control|Meta|Escape|Tab|Home|End|Enter|Space|Backspace|Delete|Arrow\w+|Bool|Int|Float|Text|\(prefers.*""",
    re.VERBOSE | re.DOTALL,
)
PLAIN = re.compile(r"[A-Z][a-z].*|.*[a-z]{2} [a-z“(].*", re.DOTALL)  # a word with a capital, or several words


def german(text: str) -> bool:
    """Whether the table has a word for it: as a whole, or for each of its sentences behind a name."""

    def one(part: str) -> bool:
        return part in TABLE["texts"] or any(p.fullmatch(part) for p in (*EDITOR, *PAGE))

    parts = re.split(r"(?<=[.!?]) (?=[A-Z“'\"])", re.sub(r"^[^.:]{1,80}: ", "", text))
    return one(text) or all(map(one, parts))


TEMPLATE = re.compile(r"`((?:[^`\\$]|\\.|\$\{(?:[^{}`]|`[^`]*`|\{[^{}]*\})*\})*)`")
HOLE = re.compile(r"\$\{((?:[^{}`]|`[^`]*`|\{[^{}]*\})*)\}")
CHOICE = re.compile(r'\?\s*(?:"([^"]*)"|`([^`]*)`)\s*:\s*(?:"([^"]*)"|`([^`]*)`)')
SOMEONE = "\0"  # a number, or a name


def literals(code: str) -> Iterator[tuple[int, str]]:
    """Every text of a JavaScript source with its place: strings, readings of templates, texts of JSX."""
    code = re.sub(r"(^|[^:])//[^\n]*|/\*.*?\*/", lambda m: " " * len(m.group()), code, flags=re.DOTALL)
    for found in TEMPLATE.finditer(code):
        parts = HOLE.split(found.group(1))
        if not re.search(r"[A-Za-z]{2}", "".join(parts[::2])):
            continue
        ways = [[part] if i % 2 == 0 else values(part) for i, part in enumerate(parts)]
        yield from ((found.start(), "".join(way)) for way in itertools.product(*ways))
    code = TEMPLATE.sub(lambda m: "`" + " " * (len(m.group()) - 2) + "`", code)
    for found in re.finditer(r'"((?:[^"\\\n]|\\.)*)"', code):
        yield found.start(), found.group(1)
    for found in re.finditer(r">([^<>{}=;()&|`]*[A-Za-z]{2}[^<>{}=;()&|`]*)(?=[<{])", code):
        yield found.start(1), found.group(1).strip()


def values(code: str) -> list[str]:
    """What a `${…}` may come to."""
    either = CHOICE.search(code)
    if either is None:
        return [SOMEONE]
    return [HOLE.sub(SOMEONE, text) for text in either.groups() if text is not None]


def unsaid(code: str) -> list[str]:
    """Texts of a source that stay English."""
    lacking = []
    for at, text in literals(code):
        if UNREAD.search(code[max(0, at - 60) : at]) or not re.search(r"[A-Za-z]{2}", text):
            continue
        ways = [text.replace(SOMEONE, one).strip() for one in ("7", "Xy")]
        read = [way for way in ways if PLAIN.fullmatch(way) and not NO_WORDS.fullmatch(way)]
        if read and not any(map(german, ways)):
            lacking.append(read[0])
    return lacking


@pytest.mark.parametrize("name", sorted(p.name for p in SOURCES.glob("*.js*") if ".test." not in p.name))
def test_every_text_of_the_editor_has_a_german_word(name: str) -> None:
    lacking = unsaid((SOURCES / name).read_text("utf-8"))
    assert not lacking, "\n".join(["without a word in assets/ui/lang/de.json:", *lacking])


def test_a_text_without_a_german_word_is_found() -> None:
    code = (
        'say("Quite unheard of."); const a = <b title="Never seen">No word for it</b>; // "Not Read"\n'
        'say(`${n === 1 ? "one thing" : "things"} nobody says.`); <i className="g-Own C" /> say("Undone.");'
    )
    found = ["Quite unheard of.", "Never seen", "No word for it"]
    found += ["one thing nobody says.", "things nobody says."]
    assert sorted(unsaid(code)) == sorted(found)


def test_groups_types_titles_and_settings_of_every_node_have_a_german_word(tmp_path: Any) -> None:
    from studio.policy import Policy
    from studio.studio import Studio

    studio = Studio(Settings(home=tmp_path), Policy.local())
    try:
        known = registry_json(studio)
        broken = studio.check(load(WRONG))
        plan = studio.plan(studio.workflow())
    finally:
        studio.close()
    said = [*known["titles"], *known["categories"], *(sign["word"] for sign in known["types"].values())]
    for spec in known["nodes"].values():
        said.append(spec["title"])
        said += [w["label"] for group in ("inputs", "outputs", "widgets") for w in spec[group]]
        said += [w["lowest"] for w in spec["widgets"] if "lowest" in w]
    lacking = sorted({word for word in said if word not in TABLE["texts"]})
    assert not lacking, f"without a word in assets/ui/lang/de.json: {lacking}"
    told = [" ".join(filter(None, (p.message, p.hint))) for p in broken]
    assert len(told) >= 9
    told += [n.reason for n in plan.nodes]
    assert not (lacking := [text for text in told if not german(text)]), lacking


WRONG = {
    "format": "weft/graph", "version": 1,
    "nodes": [
        {"id": "a", "kind": "draw_layout", "widgets": {"width": 100000, "height": "tall", "colour": 1}},
        {"id": "b", "kind": "save_image", "kind_version": 99},
        {"id": "c", "kind": "no_such_node"}, {"id": "d", "kind": "film_grain", "mode": "bypass"},
        {"id": "e", "kind": "film_grain"}, {"id": "f", "kind": "film_grain"},
        {"id": "g", "kind": "save_image"}, {"id": "h", "kind": "plan_layout"},
    ],
    "edges": [
        {"from": ["e", "image"], "to": ["f", "image"]}, {"from": ["f", "image"], "to": ["e", "image"]},
        {"from": ["d", "image"], "to": ["b", "image"]}, {"from": ["h", "layout"], "to": ["g", "image"]},
        {"from": ["h", "picture"], "to": ["a", "layout"]},
    ],
}  # fmt: skip
