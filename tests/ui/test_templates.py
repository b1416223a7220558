"""templates.py: which cards there are, what comes along to the next, which one a picture is of."""

from __future__ import annotations

import base64
import io
import json
from types import SimpleNamespace

import pytest
from PIL import Image as Pillow

from studio.errors import StudioError
from studio.graph.document import loads, to_json
from studio.settings import ROOT
from studio.ui.create import STAYED, CreateTab
from studio.ui.forms import panel
from studio.ui.owners import Owners
from studio.ui.pictures import Pictures
from studio.ui.templates import CARDS, Templates

FOLDER = ROOT / "assets" / "workflows"
READY = {path.stem for path in FOLDER.glob("*.json")}


def tab_of(studio) -> CreateTab:
    owners = Owners(studio.settings.home, public=studio.policy.is_public)
    return CreateTab(studio, owners, Pictures(studio, owners))


def value_of(document) -> str:
    return json.dumps({"document": to_json(document)})


def event(**data):
    return SimpleNamespace(_data=data)


def test_cards_are_those_workflows_that_can_be_read_here(fake):
    cards = Templates(fake).cards
    assert [card.name for card in cards] == ["text-to-image", "edit-by-prompt"]
    assert all(card.title and card.help and card.group for card in cards)


def test_every_ready_workflow_has_a_card_of_its_own():
    told = {name: loads((FOLDER / f"{name}.json").read_text("utf-8")).extra for name in READY - set(CARDS)}
    missing = sorted(name for name, own in told.items() if not (own.get("title") and own.get("help")))
    assert not missing, f"give them a title and a help, there or in studio/ui/templates.py: {missing}"
    titles = [title for _, title, _ in CARDS.values()] + [own["title"] for own in told.values()]
    assert len(set(titles)) == len(titles)
    assert len({title for _, title, _ in CARDS.values()}) == len(CARDS)


def test_a_document_is_known_by_its_nodes_whatever_its_settings(fake):
    templates = Templates(fake)
    document = fake.workflow("edit-by-prompt").set("p", "text", "a fish").set("s", "steps", 3)
    assert templates.name_of(document) == "edit-by-prompt"
    assert templates.name_of(fake.workflow()) == "text-to-image"


def test_what_a_person_set_comes_along_and_the_rest_is_the_templates(fake):
    before = fake.workflow().set("p", "text", "a red fish").set("c", "seed", 77)
    after = Templates(fake).open("edit-by-prompt", before)
    assert (after.node("p").widgets["text"], after.node("c").widgets["seed"]) == ("a red fish", 77)
    assert after.node("n").widgets["text"] == "a blue star" and after.node("r").widgets["seed"] == 5


def test_an_untouched_prompt_does_not_replace_the_templates_own(fake):
    templates = Templates(fake)
    kept = fake.workflow("edit-by-prompt").set("p", "text", "its own")
    assert templates.open("edit-by-prompt", fake.workflow(), kept).node("p").widgets["text"] == "its own"
    other = fake.workflow()  # says it is kept, but is no edit-by-prompt
    assert templates.open("edit-by-prompt", None, other) == fake.workflow("edit-by-prompt")


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    from studio.policy import Policy
    from studio.settings import Settings
    from studio.studio import Studio

    studio = Studio(Settings(home=tmp_path_factory.mktemp("real")), Policy.local())
    yield studio
    studio.close()


@pytest.fixture(scope="module")
def ready(real):
    return Templates(real)


def test_a_prompt_that_comes_along_leaves_every_ready_workflow_without_errors(real, ready):
    before = real.workflow().set("prompt", "text", "a red star on the left, at night")
    assert len(ready.cards) >= len(CARDS)
    took = set()
    for card in ready.cards:
        after = ready.open(card.name, before)
        wrong = [p.message for p in real.check(after) if p.level == "error"]
        assert not wrong, f"{card.name}: {wrong}"
        if any(f["role"] == "prompt" for f in panel(after, real.registry)):
            took |= set() if ready.stayed_behind(before, after) else {card.name}
    assert {"few-step", "see-words", "edit-by-prompt"} <= took
    assert not {"keep-the-subject", "mask-from-words", "edit-a-thing", "keep-the-look"} & took


def test_a_prompt_with_all_the_words_that_a_template_names_comes_along(real, ready):
    text = "a red boat and a green cup, by the sea"
    before = real.workflow().set("prompt", "text", text)
    opened = ready.open("keep-the-subject", before)
    assert opened.node("reference_prompt").widgets["text"] == text
    assert opened.node("watch").widgets["words"] == "boat"
    start = real.workflow("mask-from-words")
    kept = (
        start.set("watch", "words", "boat, cup")
        .set("mask", "word", "cup")
        .set("prompt", "text", "a boat and a cup")
    )
    assert ready.open("mask-from-words", before, kept).node("prompt").widgets["text"] == text
    assert not ready.stayed_behind(before, opened)
    assert ready.open("mask-from-words", before) == start.set(
        "canvas", "seed", before.node("canvas").widgets["seed"]
    )


def test_a_page_says_that_its_prompt_stayed_behind(real):
    value = value_of(real.workflow().set("prompt", "text", "a red star on the left, at night"))
    tab = tab_of(real)
    assert json.loads(tab.choose(value, event(name="keep-the-subject", text="")))["says"] == STAYED
    assert not json.loads(tab.choose(value, event(name="few-step", text="")))["says"]
    untouched = value_of(real.workflow())
    assert not json.loads(tab.choose(untouched, event(name="keep-the-subject", text="")))["says"]


def test_choosing_answers_with_document_form_and_name(fake):
    value = value_of(fake.workflow().set("p", "text", "a red fish"))
    message = json.loads(tab_of(fake).choose(value, event(name="edit-by-prompt", text="")))
    assert message["template"] == "edit-by-prompt" and not message["says"]
    assert [field["label"] for field in message["panel"]][:2] == ["Prompt", "New prompt"]


@pytest.mark.parametrize("name", ["no-such", "../../etc/passwd", "", 7, None, "x" * 5000], ids=repr)
def test_an_unknown_template_is_refused_in_words(fake, name):
    message = json.loads(tab_of(fake).choose(value_of(fake.workflow()), event(name=name, text="")))
    assert "document" not in message and message["says"]


def test_a_page_without_a_readable_document_still_gets_its_template(fake):
    message = json.loads(tab_of(fake).choose("{", event(name="edit-by-prompt", text="{")))
    assert message["template"] == "edit-by-prompt"


def test_roles_and_folds_of_a_form_with_several_prompts_and_seeds(fake):
    fields = {field["label"]: field for field in panel(fake.workflow("edit-by-prompt"), fake.registry)}
    assert fields["Prompt"]["role"] == "prompt" and fields["Avoid"]["role"] == "avoid"
    assert fields["Seed"]["role"] == "seed" and fields["Seed of the reference"]["role"] == ""
    assert fields["New prompt"]["role"] == "" and fields["Picture"]["kind"] == "picture"
    assert "Prompt again" not in fields
    assert not fields["Picture"]["more"] and fields["Steps"]["more"]


def test_problems_are_told_before_the_run_with_their_hint(fake):
    tab = tab_of(fake)
    (problem,) = json.loads(tab.examine(value_of(fake.workflow().set("s", "steps", 10**9))))["problems"]
    assert (problem["node"], problem["socket"], problem["title"]) == ("s", "steps", "Schedule")
    assert problem["message"] and problem["hint"]
    assert json.loads(tab.examine(value_of(fake.workflow()))) == {"problems": [], "found": []}
    assert json.loads(tab.examine("{"))["problems"][0]["message"]


def picture(form: str = "PNG", size=(40, 30)) -> bytes:
    file = io.BytesIO()
    Pillow.new("RGB", size, (200, 30, 30)).save(file, form)
    return file.getvalue()


def test_a_picture_is_brought_stored_and_shown_again(fake):
    tab = tab_of(fake)
    data = base64.b64encode(picture("JPEG", (3000, 20))).decode()
    message = json.loads(tab.bring("", event(node="i", widget="picture", name="me\n.jpg", data=data)))[
        "brought"
    ]
    assert (message["node"], message["value"]["name"]) == ("i", "me.jpg")
    with Pillow.open(fake.history.upload(message["value"]["file"])) as stored:
        assert (stored.format, stored.size) == ("PNG", (2048, 14))
    document = fake.workflow("edit-by-prompt").set("i", "picture", message["value"])
    thumbs = json.loads(tab.message(document))["thumbs"]
    assert thumbs[message["value"]["file"]].startswith("data:image/webp;base64,")


@pytest.mark.parametrize("data", [
    "", "!!", base64.b64encode(b"no picture").decode(), base64.b64encode(picture()[:40]).decode(), 7, None,
], ids=lambda value: repr(value)[:20])  # fmt: skip
def test_what_is_no_picture_is_refused_at_its_field(fake, data):
    message = json.loads(tab_of(fake).bring("", event(node="i", widget="picture", name="x", data=data)))
    assert message["brought"]["fault"] and message["brought"]["widget"] == "picture"


@pytest.mark.parametrize("value", [{"file": "../../../etc/passwd"}, {"file": "0" * 64}, 7, None], ids=repr)
def test_a_document_cannot_make_the_page_show_another_file(fake, value):
    document = fake.workflow("edit-by-prompt").set("i", "picture", value)
    assert json.loads(tab_of(fake).message(document))["thumbs"] == {}


def test_a_missing_template_names_its_neighbour(fake):
    with pytest.raises(StudioError) as error:
        Templates(fake).open("edit-by-promt")
    assert "edit-by-prompt" in error.value.hint
