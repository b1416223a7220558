"""create.py: handlers of the Create tab, called directly; what a browser sends is never trusted."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest

from studio.graph.document import dumps, to_json
from studio.policy import Policy
from studio.ui.create import CreateTab
from studio.ui.owners import Owners
from studio.ui.pictures import Pictures


def tab_of(studio) -> tuple[CreateTab, Owners]:
    owners = Owners(studio.settings.home, public=studio.policy.is_public)
    return CreateTab(studio, owners, Pictures(studio, owners)), owners


def value_of(document) -> str:
    return json.dumps({"document": to_json(document)})


def event(**data):
    return SimpleNamespace(_data=data)


def collect(stream) -> list[dict]:
    async def gather():
        return [json.loads(message) async for message in stream]

    return asyncio.run(gather())


def test_a_run_ends_with_its_picture(fake):
    tab, _ = tab_of(fake)
    document = fake.workflow().set("p", "text", "a red star").set("c", "seed", 7)
    messages = collect(tab.run(value_of(document), ""))
    last = messages[-1]
    assert last["job"]["state"] == "done"
    assert (last["pictures"][0]["prompt"], last["pictures"][0]["seed"]) == ("a red star", 7)
    assert all(not message["pictures"] for message in messages[:-1])


def test_a_run_remembers_which_pictures_it_comes_from(make_fake):
    studio = make_fake(Policy.public(), pace=0.001)
    tab, owners = tab_of(studio)
    mine, other = owners.issue(), owners.issue()
    value = value_of(studio.workflow().set("s", "steps", 1))

    def made(parents, token=mine):
        name = collect(tab.run(value, token, None, parents))[-1]["pictures"][0]["id"]
        return name, studio.history.show(owners.owner(token), name).parents

    first, none = made(None)
    assert none == ()
    junk = [7, ["x" * 32, "source"], [first], [first, "friend"], [None, "source"]]
    assert made([[first, "source"], *junk])[1] == ((first, "source"),)
    assert made([[first, "source"]], other)[1] == (), "nobody builds on a picture of another visitor"
    assert made("junk")[1] == made({"a": 1})[1] == ()


def test_previews_arrive_before_the_end(make_fake):
    tab, _ = tab_of(studio := make_fake(pace=0.06))
    messages = collect(tab.run(value_of(studio.workflow()), ""))
    assert any(
        message["nodes"].get("s", {}).get("image", "").startswith("data:image/webp")
        for message in messages[:-1]
    )


JUNK = [
    None, 7, [], {}, "", "{", "null", "[]", '{"document": null}', '{"document": NaN}',
    '{"document": {"format": "else"}}', "[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("value", JUNK, ids=lambda value: repr(value)[:30])
def test_junk_instead_of_a_document_is_refused_in_words(fake, value):
    tab, _ = tab_of(fake)
    (message,) = collect(tab.run(value, ""))
    assert message["job"]["state"] == "error" and message["error"]["message"]
    assert fake.runs == {}


def test_a_bad_value_is_named_with_its_field(fake):
    tab, _ = tab_of(fake)
    (message,) = collect(tab.run(value_of(fake.workflow().set("s", "steps", 10**9)), ""))
    assert (message["error"]["node"], message["error"]["socket"]) == ("s", "steps")
    assert message["error"]["title"] == "Schedule" and message["error"]["hint"]


def test_a_reloaded_page_takes_up_the_live_run(make_fake):
    studio = make_fake(pace=0.03)
    tab, _ = tab_of(studio)
    run = studio.submit(studio.workflow())
    messages = collect(tab.attach(""))
    assert {message["run"] for message in messages} == {run}
    assert messages[-1]["job"]["state"] == "done" and messages[-1]["pictures"]


def test_nothing_to_take_up_sends_nothing(fake):
    tab, _ = tab_of(fake)
    assert collect(tab.attach("")) == []


def broken_off(studio, prompt: str, owner: str = "local", crashes: int = 1) -> str:
    """A run that a crash left, as `Queue.recover` parks it."""
    run = studio.jobs.add(dumps(studio.workflow().set("p", "text", prompt)), owner=owner).id
    studio.jobs.db.execute("UPDATE runs SET status = 'parked', crashes = ? WHERE id = ?", (crashes, run))
    return run


def test_a_run_that_broke_off_is_offered_and_can_be_discarded(fake):
    tab, _ = tab_of(fake)
    old, new = broken_off(fake, "a blue house"), broken_off(fake, "a red star " * 20)
    (message,) = collect(tab.attach(""))
    assert message["run"] == new and message["job"]["state"] == "parked"
    assert message["offer"]["name"].startswith("a red star") and len(message["offer"]["name"]) <= 80
    (message,) = collect(tab.parked("", event(run=new, choice="discard")))
    assert (message["run"], message["offer"]["name"]) == (old, "a blue house")
    (message,) = collect(tab.parked("", event(run=old, choice="discard")))
    assert message["job"]["state"] == "idle" and collect(tab.attach("")) == []
    assert fake.jobs.status(new) == fake.jobs.status(old) == "cancelled"


def test_resume_queues_the_same_run_and_after_two_crashes_a_new_one(fake):
    tab, _ = tab_of(fake)
    once, twice = broken_off(fake, "one"), broken_off(fake, "two", crashes=2)
    collect(tab.parked("", event(run=once, choice="resume")))
    assert fake.jobs.status(once) == "queued"
    collect(tab.parked("", event(run=twice, choice="resume")))
    assert fake.jobs.status(twice) == "cancelled"
    assert [job.retried_from for job in fake.jobs.live("local")] == ["", twice]


def test_a_run_of_somebody_else_is_neither_offered_nor_resumed(make_fake):
    studio = make_fake(Policy.public())
    tab, owners = tab_of(studio)
    run = broken_off(studio, "mine", owner="v" + "0" * 32)
    token = owners.issue()
    assert collect(tab.attach(token)) == []
    for choice in ("resume", "discard", None):
        (message,) = collect(tab.parked(token, event(run=run, choice=choice)))
        assert choice == "discard" or "There is no run" in message["error"]["message"]
    assert studio.jobs.status(run) == "parked"


def test_stop_ends_a_run_that_stores_nothing(make_fake):
    studio = make_fake(pace=0.05)
    tab, _ = tab_of(studio)
    run = studio.submit(studio.workflow())
    tab.stop("", event(run=run))
    assert collect(tab._follow(run, "local"))[-1]["job"]["state"] == "stopped"
    assert not studio.history.list("local").items


@pytest.mark.parametrize(
    "data", [{}, {"run": None}, {"run": 7}, {"run": "r_unknown"}, {"run": ["r"]}], ids=repr
)
def test_stop_for_nothing_is_harmless(fake, data):
    tab, _ = tab_of(fake)
    tab.stop("", event(**data))


def test_visitors_of_a_shared_host_are_apart(make_fake):
    studio = make_fake(Policy.public(), pace=0.03)
    tab, owners = tab_of(studio)
    mine, other = owners.issue(), owners.issue()
    run = studio.submit(studio.workflow(), owner=owners.owner(mine))
    tab.stop(other, event(run=run))
    assert collect(tab.attach(other)) == []
    made = collect(tab.attach(mine))[-1]["pictures"]
    assert made, "the other visitor's stop must not have ended the run"
    assert "document" not in json.loads(tab.reuse(other, event(generation=made[0]["id"])))
    assert "document" in json.loads(tab.reuse(mine, event(generation=made[0]["id"])))


def test_a_page_without_a_visitors_token_is_refused_on_a_shared_host(make_fake):
    studio = make_fake(Policy.public())
    tab, _ = tab_of(studio)
    (message,) = collect(tab.run(value_of(studio.workflow()), ""))
    assert "not signed in" in message["error"]["message"] and studio.runs == {}


def test_reuse_brings_back_the_graph_of_a_picture(fake):
    tab, _ = tab_of(fake)
    document = fake.workflow().set("p", "text", "a boat").set("s", "steps", 3)
    made = collect(tab.run(value_of(document), ""))[-1]["pictures"][0]
    message = json.loads(tab.reuse("", event(generation=made["id"])))
    assert message["document"] == to_json(document) and message["undo"]


def test_an_opened_file_restores_its_graph_and_names_missing_nodes(fake):
    tab, _ = tab_of(fake)
    document = to_json(fake.workflow())
    document["nodes"].append({"id": "x", "kind": "film_grian", "widgets": {"amount": 1}})
    message = json.loads(tab.open(event(text=json.dumps(document), name="boat.png")))
    assert "film_grian" in message["says"] and "boat.png" in message["says"]
    assert message["document"]["nodes"][-1]["widgets"] == {"amount": 1}


@pytest.mark.parametrize("text", ["", "{", '{"format": "weft/graph", "version": 99}', 7, None], ids=repr)
def test_a_file_that_cannot_be_opened_changes_nothing(fake, text):
    tab, _ = tab_of(fake)
    message = json.loads(tab.open(event(text=text, name="boat.json")))
    assert "document" not in message and "boat.json could not be opened" in message["says"]


def test_a_broken_document_kept_by_the_browser_is_replaced_quietly(fake):
    tab, _ = tab_of(fake)
    message = json.loads(tab.open(event(text='{"format": "old"}', name="")))
    assert message["document"] == to_json(fake.workflow()) and not message["says"]


def test_a_kept_document_comes_back_as_it_was(fake):
    tab, _ = tab_of(fake)
    document = fake.workflow().set("p", "text", "</script>${alert(1)}{{x}}")
    raw = tab.open(event(text=dumps(document), name=""))
    assert json.loads(raw)["document"] == to_json(document) and "<" not in raw


def test_a_reloaded_page_follows_the_run_at_work_and_then_the_next(make_fake):
    studio = make_fake(pace=0.02)
    tab, _ = tab_of(studio)
    first = studio.submit(studio.workflow())
    second = studio.submit(studio.workflow().set("s", "steps", 40))
    messages = collect(tab.attach(""))
    assert list(dict.fromkeys(message["run"] for message in messages)) == [first, second]
    assert messages[-1]["job"]["state"] == "done" and messages[-1]["job"]["behind"] == 0


def test_a_run_says_which_page_asked_for_it(make_fake):
    tab, _ = tab_of(studio := make_fake(pace=0.01))
    told = collect(tab.run(value_of(studio.workflow()), "", page="a" * 100))
    assert {message["page"] for message in told} == {"a" * 64}
    studio.submit(studio.workflow().set("s", "steps", 40))
    assert {message["page"] for message in collect(tab.attach(""))} == {""}, "nobody's: any page takes it up"


def test_a_series_is_queued_at_once_and_followed_in_its_order(make_fake):
    tab, _ = tab_of(studio := make_fake(pace=0.005))
    values = [value_of(studio.workflow().set("c", "seed", seed)) for seed in (3, 4, 5)]
    messages = collect(tab.run(None, "", series=values))
    assert list(dict.fromkeys(message["run"] for message in messages)) == list(studio.runs)
    seeds = [p["seed"] for message in messages for p in message["pictures"]]
    assert seeds == [3, 4, 5]


def test_what_does_not_fit_into_the_queue_waits_for_room_unless_all_is_stopped(make_fake, monkeypatch):
    from studio.errors import Refused

    studio = make_fake(pace=0.005)
    tab, _ = tab_of(studio)
    plain = studio.submit

    def full(*args, **named):
        if studio.live_run() is not None:
            raise Refused("1 of your runs is waiting; at most 0 may.")
        return plain(*args, **named)

    monkeypatch.setattr(studio, "submit", full)
    values = [value_of(studio.workflow().set("c", "seed", seed)) for seed in (3, 4, 5)]
    messages = collect(tab.run(None, "", series=values))
    assert [p["seed"] for message in messages for p in message["pictures"]] == [3, 4, 5]
    assert messages[0]["job"]["behind"] == 2 and tab._waiting == {"local": []}

    async def stopped():
        runs = []
        async for message in tab.run(None, "", series=values):
            runs.append(json.loads(message)["run"])
            tab.stop("", event(run=runs[0], all=True))
        return runs

    assert len(set(asyncio.run(stopped()))) == 1, "the others are not even queued"


def test_four_queued_strengths_are_stopped_together_in_a_real_queue(fake):
    tab, _ = tab_of(fake)
    for seed in (1, 2, 3):
        fake.jobs.add(dumps(fake.workflow().set("c", "seed", seed)))
    fake.cancel = lambda run, owner="local": fake.jobs.ask_cancel(run, owner)
    assert fake.jobs.waiting("local") == 3
    tab.stop("", event(run=fake.jobs.live("local")[1].id))
    assert fake.jobs.waiting("local") == 2
    tab.stop("", event(run=None, all=True))
    assert fake.jobs.waiting("local") == 0


@pytest.mark.parametrize("strength", [None, 0.6, 9, -1, "much", float("nan")], ids=repr)
def test_how_far_variations_may_go_is_kept_within_its_range(fake, monkeypatch, strength):
    asked = {}

    def vary(document, node, seeds, strength):
        asked["strength"] = strength
        return document, ()

    monkeypatch.setattr("studio.ui.create.variations", vary)
    tab, _ = tab_of(fake)
    made = fake.run(fake.workflow()).outputs[0].generation
    data = {} if strength is None else {"strength": strength}
    told = json.loads(tab.vary("", event(generation=made, seeds=[7], **data)))
    wrong = strength == "much" or strength != strength
    assert ("vary" in told) is not wrong
    assert wrong or asked["strength"] == {None: 0.85, 9: 1.0, -1: 0.05}.get(strength, strength)


def test_the_saved_result_comes_before_what_it_was_made_from(fake):
    made = fake.run(fake.workflow()).outputs[0].generation
    places = [("keep", None), ("save", 1), ("save", 0), ("save_mask", None)]
    outputs = [{"node": node, "item": item, "generation": made} for node, item in places]
    tab, _ = tab_of(fake)
    told = tab._made({"job": {"state": "done"}, "outputs": outputs}, "local")
    assert [(card["node"], card["item"]) for card in told] == [
        ("save", 0), ("save", 1), ("keep", None), ("save_mask", None)
    ]  # fmt: skip
