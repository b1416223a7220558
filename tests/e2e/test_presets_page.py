"""Presets on the Create page, in Chromium: settings come with a model, and what does not suit is locked."""

from __future__ import annotations

from typing import Any

from e2e_hands import MARKS, reload, set_steps

from studio.models.presets import NAMED, Preset

pytestmark = MARKS
QUICK = Preset("Quick", "a card", 4, 8, False, spacing="flow")
DEV = NAMED[r"flux\.?1-dev"]


GUIDANCE = "window.weft.doc.current.nodes.find((n) => n.id === 'guidance')"
# what a screen reader says with a control, beside its name
HEARD = """(control) => control.getAttribute('aria-describedby').split(' ')
  .map((id) => document.getElementById(id).textContent).join(' ')"""


def with_quick(page: Any) -> None:
    """A few-step model in the page's list; it stands for the one that the form names."""
    page.evaluate(
        "(preset) => window.weft.facts.models.push({ref: 'embedded:quick', title: 'Quick', preset})",
        QUICK.to_json(),
    )
    page.evaluate("window.weft.emit('document', window.weft.doc)")
    page.locator("#weft-more:not([open]) summary").evaluate_all("(all) => all.forEach((one) => one.click())")


def choose(page: Any, ref: str) -> None:
    """As the list of models does when a person chooses."""
    field = "window.weft.doc.field('model')"
    page.evaluate(f"window.weft.doc.set({field}, '{ref}'); window.weft.emit('model', '{ref}')")


def setting(page: Any, widget: str) -> Any:
    return page.evaluate(
        "(widget) => window.weft.doc.widget(window.weft.doc.panel.find((f) => f.widget === widget))", widget
    )


def test_a_model_brings_its_settings_and_gives_back_what_stood_there(open_page):
    page = open_page()
    with_quick(page)
    before = {name: setting(page, name) for name in ("model", "steps", "cfg_scale", "spacing", "sampler")}
    assert before["sampler"] == "dpmpp_2m_sde"
    choose(page, "embedded:quick")
    page.get_by_text("Set for Quick:").wait_for()
    now = [setting(page, name) for name in ("steps", "cfg_scale", "spacing", "sampler")]
    assert now == [4, 1, "flow", "euler"]
    choose(page, before["model"])
    assert {name: setting(page, name) for name in before} == before
    # a number for the network, and a shift that goes with the size
    page.evaluate("(preset) => window.weft.facts.models.push({ref: 'hub:dev', preset})", DEV.to_json())
    number = page.locator(".w-create .w-field[data-widget=guidance]")
    assert number.is_hidden() and setting(page, "guidance") == -1
    choose(page, "hub:dev")
    assert number.is_visible() and (setting(page, "guidance"), setting(page, "shift")) == (3.5, 1.649)
    page.evaluate("['width', 'height'].map((s) => window.weft.doc.set(window.weft.doc.field(s), 1024))")
    assert setting(page, "shift") == DEV.settings(1024, 1024)["shift"] == 3.158
    for text, value, words in (("", -1, "as the model"), ("5", 5, "5")):
        number.locator("input").fill(text)
        number.locator("input").blur()
        assert (setting(page, "guidance"), number.locator("input").input_value()) == (value, words)
    choose(page, before["model"])
    assert number.is_hidden() and setting(page, "guidance") == -1
    page.get_by_role("tab", name="Graph").click()  # the same word there, and a number behind it
    number = page.locator(".react-flow__node[data-id=guidance] [data-widget=guidance] input")
    assert number.input_value() == "as the model"
    for key, value, words in (("ArrowUp", 0, "0"), ("ArrowDown", -1, "as the model")):
        number.press(key)
        assert number.input_value() == words
        page.wait_for_function(f"{GUIDANCE}.widgets.guidance === {value}")


def test_a_sampler_that_was_chosen_stays_whatever_model_comes(open_page):
    page = open_page()
    with_quick(page)
    own = setting(page, "model")
    noisy = Preset("Noisy", "a card", 20, cfg_scale=3.0, sampler="dpmpp_2m_sde").to_json()
    page.evaluate(
        "([own, preset]) => window.weft.facts.models.push({ref: own + '-noisy', preset})", [own, noisy]
    )
    own += "-noisy"
    choose(page, own)
    choose(page, "embedded:quick")
    assert setting(page, "sampler") == "euler"
    choose(page, own)
    assert setting(page, "sampler") == "dpmpp_2m_sde"  # nobody chose it: it came with the model
    page.locator("#weft-create [data-widget=sampler] select").select_option("euler")
    choose(page, "embedded:quick")
    choose(page, own)
    assert setting(page, "sampler") == "euler"


def test_what_does_not_suit_is_locked_with_the_reason(open_page):
    page = open_page()
    with_quick(page)
    choose(page, "embedded:quick")
    guidance = page.locator(".w-create [data-widget=cfg_scale]")
    assert guidance.locator("input[type=number]").is_disabled()
    assert QUICK.no_cfg() in guidance.inner_text()
    steps = page.locator(".w-create [data-widget=steps]")
    assert steps.locator("input[type=range]").get_attribute("max") == "8"
    assert QUICK.too_many() in steps.inner_text() and steps.locator("input[type=number]").is_enabled()
    set_steps(page, 30)  # typed past the lock: it holds, and the field says so
    assert setting(page, "steps") == 8 and steps.locator("input[type=number]").input_value() == "8"
    set_steps(page, 2)
    assert setting(page, "steps") == 2
    heun = page.locator(".w-create [data-widget=sampler] option", has_text="heun")
    assert heun.is_disabled() and heun.get_attribute("title") == QUICK.unsuited()["sampler"]["heun"]
    for widget, name in (("sampler", "dpmpp 2m"), ("spacing", "karras")):  # not only of an option
        field = page.locator(f".w-create [data-widget={widget}]")
        heard = field.locator("select").evaluate(HEARD)
        for why, _ in QUICK.reasons()[widget]:
            assert why in field.locator(".w-lock").inner_text() and why in heard
        assert name in heard and name not in field.locator(".w-help").inner_text()
    assert "more steps are" not in steps.inner_text() and "2 to 5 is usual" not in guidance.inner_text()
    page.evaluate("window.weft.openTab('Regions')")  # the model comes along, with its settings and its locks
    page.locator("#weft-regions .w-more summary").click()
    there = page.locator("#weft-regions [data-widget=cfg_scale]")
    there.get_by_text(QUICK.no_cfg()).wait_for()
    assert there.locator("input[type=number]").input_value() == "1"
    assert page.locator("#weft-regions [data-widget=steps] input[type=number]").input_value() == "4"
    page.evaluate("window.weft.openTab('Create')")
    avoid = page.locator("#weft-create").get_by_label("Avoid", exact=True)
    assert avoid.is_disabled()
    page.locator("#weft-create").get_by_role("button", name="Avoid without a second pass").click()
    page.locator("#weft-templates [data-template=avoid-without-cfg][aria-pressed=true]").wait_for()
    hard = page.locator("#weft-create [data-widget=scale]")
    assert hard.is_visible(), "that template has a word to avoid"
    page.locator("#weft-create").get_by_label("Avoid", exact=True).fill(" ")
    assert hard.is_hidden(), "how hard nothing is avoided is no setting"


def test_settings_made_by_hand_stay_also_after_a_reload(open_page):
    page = open_page()
    with_quick(page)
    set_steps(page, 6)
    choose(page, "embedded:quick")
    assert (setting(page, "steps"), setting(page, "cfg_scale")) == (6, 1)
    choose(page, "embedded:scenes-sd3")
    page.evaluate("window.weft.doc.flush()")
    reload(page)
    with_quick(page)
    choose(page, "embedded:quick")
    assert setting(page, "steps") == 6
    choose(page, "embedded:scenes-sd3")
    set_steps(page, 30)
    choose(page, "embedded:quick")
    # what cannot work is set right, and comes back with a model that can
    assert setting(page, "steps") == 4
    choose(page, "embedded:scenes-sd3")
    assert setting(page, "steps") == 30


def open_template(page: Any, name: str) -> None:
    page.locator(f"#weft-templates [data-template={name}]").click()
    page.locator(f"#weft-templates [data-template={name}][aria-pressed=true]").wait_for()


def widgets(page: Any) -> dict[str, Any]:
    """Every setting of the page's document, by node and name."""
    nodes = page.evaluate("window.weft.doc.current.nodes")
    return {f"{n['id']}.{name}": value for n in nodes for name, value in n.get("widgets", {}).items()}


def test_what_a_workflow_asks_for_stays_and_comes_back_with_its_model(open_page):
    page = open_page()
    with_quick(page)
    flux = Preset("Number", "a card", 20, guidance=3.0, shift=1.5, spacing="flux").to_json()
    page.evaluate("(preset) => window.weft.facts.models.push({ref: 'hub:number', preset})", flux)
    open_template(page, "keep-picture-values")
    own, before = setting(page, "model"), widgets(page)
    assert (before["values.steps"], before["schedule.steps"], before["lead.cfg_scale"]) == (1, 12, 2)
    choose(page, "hub:number")
    there = widgets(page)
    # that many steps put something in: no setting of the model's; its own number of steps stays as well
    assert (there["values.steps"], there["schedule.steps"], there["first_schedule.steps"]) == (1, 12, 20)
    # a second pass beside the number is needless, also where no form shows it; so the noise levels
    assert (there["lead.cfg_scale"], there["guidance.cfg_scale"]) == (1, 1)
    assert (there["first_schedule.shift"], there["first_schedule.spacing"]) == (1.5, "flux")
    assert there["sampler.sampler"] == "midpoint_reuse"
    choose(page, "embedded:quick")
    few = widgets(page)
    assert (few["values.steps"], few["schedule.steps"], few["lead.cfg_scale"]) == (1, 4, 1)
    choose(page, own)
    assert {name: value for name, value in widgets(page).items() if not name.endswith(".model")} == {
        name: value for name, value in before.items() if not name.endswith(".model")
    }
