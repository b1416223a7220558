"""What the page is told of presets and LoRAs, and what a template does with them."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from studio.models.presets import Preset
from studio.ui.facts import facts, known_model
from studio.ui.fitted import SETS
from studio.ui.models_tab import ModelsTab
from studio.ui.owners import Owners
from studio.ui.templates import Templates

QUICK = Preset("Quick", "https://example.org/quick", 4, 8, False, spacing="flow")
LORA = SimpleNamespace(
    ref="/models/loras/quick.safetensors", title="quick", problem="", card={"preset": QUICK.to_json()}
)
BROKEN = SimpleNamespace(
    ref="/models/loras/torn.safetensors", title="torn", problem="/models is torn.", card={}
)


@pytest.fixture
def fast(fake, monkeypatch):
    """The fake studio with a few-step model and two LoRA files."""
    cards = fake.model_cards()
    quick = {**cards[0], "ref": "embedded:quick", "title": "Quick", "preset": QUICK.to_json()}
    models = fake.models
    models.loras = lambda: (LORA, BROKEN)
    monkeypatch.setattr(type(fake), "models", models)
    monkeypatch.setattr(fake, "model_cards", lambda: [*cards, quick])
    return fake


def test_the_page_knows_every_preset_and_only_the_loras_that_work(fast):
    told = json.loads(json.dumps(facts(fast)))
    assert told["models"][1]["preset"]["settings"]["steps"] == 4
    assert told["models"][1]["preset"]["locks"]["cfg_scale"] == QUICK.no_cfg()
    assert [lora["ref"] for lora in told["loras"]] == [LORA.ref]
    assert known_model({"ref": "x"})["preset"] is None


def test_the_models_page_says_all_that_does_not_suit_also_samplers_and_schedules(fast):
    tab = ModelsTab(fast, Owners(fast.settings.home, public=False))
    info = SimpleNamespace(ref="embedded:quick", title="Quick", family="sd3", bytes=1, problem="",
                           card={"preset": QUICK.to_json()})  # fmt: skip
    told = tab._told(info)["locks"]
    assert [lock["why"] for lock in told if not lock["choices"]] == list(QUICK.locks().values())
    ruled = {name for lock in told for name in lock["choices"]}
    assert {"heun", "dpmpp 2m", "karras", "ays xl"} <= ruled and not ruled & {"euler", "lcm", "flow"}
    tab._told(SimpleNamespace(**{**vars(info), "card": {}}))  # of a model that nothing is known of


def test_the_models_page_says_which_loras_are_found_and_what_is_wrong(fast):
    tab = ModelsTab(fast, Owners(fast.settings.home, public=False))
    found = json.loads(tab.look(None))
    assert [(lora["title"], lora["problem"], lora["preset"]) for lora in found["loras"]] == [
        ("quick", "", "Quick"),
        ("torn", "/models is torn.", ""),
    ]
    assert [lora["ref"] for lora in found["knownLoras"]] == [LORA.ref]


def test_a_template_takes_the_settings_of_a_model_that_comes_along(fast):
    templates = Templates(fast)
    before = fast.workflow().set("m", "model", "embedded:quick")
    after = templates.open("edit-by-prompt", before)
    assert after.node("m").widgets["model"] == "embedded:quick" and after.node("s").widgets["steps"] == 4
    plain = templates.open("edit-by-prompt", fast.workflow())
    assert plain.node("s").widgets["steps"] == 20


def test_a_workflow_keeps_a_sampler_that_is_not_its_models_own(studio):
    """Most draw by their model's own sampler, whose place that of another model takes; a workflow that asks
    for another one has a reason."""
    templates = Templates(studio)

    def sampler(name: str, model: str) -> object:
        before = studio.workflow().set("model", "model", model)
        made = templates.open(name, before)
        assert made.node("model").widgets["model"] == model
        return made.node("sampler").widgets["sampler"]

    assert sampler("emphasis", "embedded:scenes-flux") == "dpmpp_2m_sde"
    assert sampler("emphasis", "embedded:scenes-sd3-turbo") == "euler"
    assert sampler("emphasis", "tiny:sd3") == "euler"  # nothing is known of it
    assert sampler("step-cache", "embedded:scenes-flux") == "euler"


def test_a_workflow_with_a_model_that_is_not_here_has_no_card(fast, monkeypatch):
    made = fast.workflow()
    model = next(node.id for node in made.nodes if node.kind == "load_model")
    assert "text-to-image" in [card.name for card in Templates(fast).cards]
    away = made.set(model, "model", "embedded:not-here")
    monkeypatch.setattr(fast, "workflow", lambda name="text-to-image": away)
    assert not Templates(fast).cards


def test_every_setting_named_like_a_models_own_is_one_or_is_told_apart(studio):
    """A node that is new here decides whether its `steps` are the model's steps."""
    names = {name for found in SETS.values() for name in found}
    for kind, spec in studio.registry.specs.items():
        own = {param.name for param in spec.params} & names
        if spec.origin == "built-in" and own:
            assert kind in SETS, f"{kind} has {', '.join(sorted(own))}: add it to SETS"
        assert set(SETS.get(kind, ())) <= own, kind


def test_a_workflow_keeps_what_it_asks_for_with_another_model(studio):
    templates = Templates(studio)

    def opened(name: str, model: str) -> dict[str, object]:
        made = templates.open(name, studio.workflow().set("model", "model", model))
        return {f"{n.id}.{w}": value for n in made.nodes for w, value in n.widgets.items()}

    flux = opened("keep-picture-values", "embedded:scenes-flux")
    assert (flux["values.steps"], flux["schedule.steps"]) == (1, 12)
    assert flux["sampler.sampler"] == "midpoint_reuse"
    # also where no form shows it: no second pass beside the number, the noise levels that it learnt
    assert (flux["guidance.cfg_scale"], flux["lead.cfg_scale"]) == (1.0, 1.0)
    assert flux["first_schedule.spacing"] == "flux"
    few = opened("edit-picture", "embedded:scenes-sd3-turbo")
    assert (few["schedule.steps"], few["first_schedule.steps"], few["guidance.cfg_scale"]) == (4, 4, 1.0)
    assert opened("avoid-without-cfg", "embedded:scenes-flux")["guidance.cfg_scale"] == 1.0
    # models take turns: its settings are for both
    start, plain = opened("full-start", "embedded:scenes-flux"), studio.workflow("full-start")
    assert start["few.steps"] == plain.node("few").widgets["steps"]
