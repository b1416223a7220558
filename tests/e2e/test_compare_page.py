"""Compare in Chromium: two values make two pictures, by mouse and by keyboard; A and B; difference."""

from __future__ import annotations

import secrets
from typing import Any

from e2e_hands import HOSTILE, LONG, MARKS, PHONE, PROMPT, ran, reload, set_steps, state, write

from studio.pixels import read_picture

pytestmark = MARKS
# the share of red pixels in the left half of the picture at the place `data-at`
MOSTLY_RED = """async (at) => {
  const image = document.querySelector(`.w-cell[data-at="${at}"] img`);
  await image.decode();
  const pen = Object.assign(document.createElement('canvas'), { width: 128, height: 256 }).getContext('2d');
  pen.drawImage(image, 0, 0);
  const data = pen.getImageData(0, 0, 128, 256).data;
  let red = 0;
  for (let i = 0; i < data.length; i += 4) {
    red += data[i] > 120 && data[i] > 2 * data[i + 2] && data[i + 1] < 100;
  }
  return red / (128 * 256);
}"""


def fresh(weft: Any) -> Any:
    """The document under a file name of its own, so that no picture of it is there yet."""
    save = next(node.id for node in weft.document.nodes if node.kind == "save_image")
    return weft.document.set(save, "name", f"compared {secrets.token_hex(4)}")


def enter(page: Any, text: str = PROMPT, steps: int = 6) -> None:
    write(page, text)
    set_steps(page, steps)
    page.evaluate("window.weft.doc.set(window.weft.doc.field('seed'), 1068141294)")
    page.evaluate("window.weft.openTab('Compare')")
    page.locator("#weft-compare [data-starter=seed]").wait_for()  # nothing varies that nobody chose


def axis(page: Any, place: int) -> Any:
    return page.locator("#weft-compare .w-axis").nth(place)


def only_words(page: Any, values: str) -> None:
    """One axis: the word "red" of the prompt by these."""
    page.locator("#weft-compare [data-starter=prompt]").click()
    axis(page, 0).get_by_role("button", name="red", exact=True).click()
    axis(page, 0).get_by_label("Values of Prompt").fill(values)


def told(page: Any, words: str) -> None:
    page.locator("#weft-sum", has_text=words).wait_for(timeout=LONG)


def test_two_words_make_two_pictures_and_lie_under_one_slider(weft, open_page, tmp_path):
    page = open_page(document=fresh(weft))
    enter(page)
    assert page.locator("#weft-sweep").is_disabled() and page.locator("#weft-compare .w-axis").count() == 0
    others = page.locator("#weft-compare [data-starter=prompt]").inner_text().split("→")[1]
    assert "," in others and "orange" not in others, "the text says “a red star”"
    page.locator("#weft-compare [data-starter=seed]").click()
    axis(page, 0).get_by_label("How many seeds").fill("2")
    told(page, "2 pictures")
    axis(page, 0).get_by_role("button", name="Do not vary").click()
    only_words(page, "red, yellow")
    fits = page.locator("#weft-compare [data-also]").evaluate_all("all => all.map((b) => b.dataset.also)")
    assert fits[:2] == ["guidance", "steps"], "chance is not the first thing to vary beside words"
    page.locator("#weft-table th[scope=col]", has_text="yellow").wait_for(timeout=LONG)
    told(page, "2 pictures")
    assert page.locator("#weft-takes").inner_text().startswith("It takes")
    assert page.locator("#weft-table th[scope=col]").all_inner_texts() == ["red", "yellow"]
    ran(page, page.locator("#weft-sweep").click)
    assert "2 of 2 pictures" in page.locator("#weft-job").inner_text()
    told(page, "2 pictures")
    page.locator("#weft-takes", has_text="there already").wait_for(timeout=LONG)
    assert page.locator(".w-cell[data-state=done] img").count() == 2
    assert page.locator("#weft-sweep").is_disabled(), "nothing is made twice"
    if weft.trained:
        assert page.evaluate(MOSTLY_RED, "0") > 0.03 > page.evaluate(MOSTLY_RED, "1")

    page.get_by_role("button", name="A and B").click()
    slider = page.locator("#weft-compare .w-ba input[type=range]")
    slider.focus()
    before = page.locator("#weft-compare .w-ba").evaluate(
        "(box) => getComputedStyle(box).getPropertyValue('--at')"
    )
    slider.press("ArrowRight")
    assert (
        page.locator("#weft-compare .w-ba").evaluate("(b) => getComputedStyle(b).getPropertyValue('--at')")
        != before
    )
    assert page.locator("#weft-compare .w-ba-word").all_inner_texts() == ["A: red", "B: red → yellow"]
    page.get_by_role("button", name="Difference").click()
    page.locator("#weft-differ", has_text="differs visibly").wait_for()
    page.get_by_role("combobox", name="Picture B").select_option("0")
    page.locator("#weft-differ", has_text="equal, to the last bit").wait_for()

    with page.expect_download() as download:
        page.locator("#weft-sheet").click()
    download.value.save_as(tmp_path / "sheet.png")
    assert read_picture((tmp_path / "sheet.png").read_bytes()).width > 512

    page.get_by_role("button", name="Table").click()
    page.locator(".w-cell").nth(1).click()
    page.locator("dialog [data-to=history]").click()
    page.locator("#weft-replay").wait_for()
    page.keyboard.press("Escape")
    page.evaluate("window.weft.openTab('Compare')")
    page.locator(".w-cell").nth(1).click()
    page.locator("dialog [data-to=graph]").click()
    page.locator(".react-flow__node[data-id=sample]").wait_for(timeout=LONG)
    page.wait_for_function("window.weft.doc.widget(window.weft.doc.field('prompt')).includes('yellow star')")


def test_by_keyboard_alone_and_stopped_and_taken_up_after_a_reload(weft, open_page):
    page = open_page(document=fresh(weft))
    enter(page, steps=12)
    page.locator("#weft-compare [data-starter=prompt]").press("Enter")
    chosen = axis(page, 0).get_by_role("combobox")
    chosen.select_option("Guidance")
    values = axis(page, 0).get_by_label("Values of Guidance")
    values.fill("1.5, 2.5, x")
    page.locator("#weft-compare .w-fault", has_text="'x' is not a number").wait_for()
    values.fill("1.5:3.5:1")
    told(page, "3 pictures")
    assert axis(page, 0).locator(".w-tag").all_inner_texts() == ["1.5", "2.5", "3.5"]
    values.press("Control+Enter")
    page.wait_for_function("window.weft.run.snapshot.job.cell >= 1", timeout=LONG)
    reload(page)
    page.wait_for_function("window.weft.run.snapshot.job.cells === 3 && window.weft.run.live", timeout=LONG)
    page.keyboard.press("Escape")
    state(page, "stopped")
    page.evaluate("window.weft.openTab('Compare')")
    page.locator("#weft-takes", has_text="there already, the other").wait_for(timeout=LONG)
    made = page.locator(".w-cell img").count()
    assert 1 <= made < 3
    other = page.locator("#weft-sweep", has_text=f"Make the other {3 - made}")
    ran(page, lambda: other.press("Enter"))
    page.wait_for_function("document.querySelectorAll('.w-cell[data-state=done] img').length === 3")
    page.locator(".w-cell").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.at") == "1"
    page.keyboard.press("b")
    assert page.locator(".w-cell[data-at='1'] .w-cell-mark").inner_text() == "B"
    page.keyboard.press("Enter")
    page.locator("dialog [data-to=create]").wait_for()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.at") == "1"


def test_what_varies_of_another_template_outlives_a_reload_and_other_documents(open_page):
    page = open_page()
    page.locator("#weft-templates [data-template=regions]").click()
    page.locator("#weft-templates [data-template=regions][aria-pressed=true]").wait_for()
    page.evaluate("window.weft.openTab('Compare')")
    page.get_by_role("button", name="Another setting").click()
    both = [axis(page, 0).get_by_role("combobox"), axis(page, 1).get_by_role("combobox")]
    both[0].select_option("Base ratio")
    page.locator("#weft-compare [data-also]").first.click()
    varied = """() => [...document.querySelectorAll('#weft-compare .w-axis')]
      .map((axis) => axis.getAttribute('aria-label'))"""
    before = page.evaluate(varied)
    assert len(before) == 2 and "Base ratio" in before[0]
    reload(page)
    page.evaluate("window.weft.openTab('Compare')")
    page.wait_for_function("document.querySelectorAll('#weft-compare .w-axis').length === 2")
    assert page.evaluate(varied) == before
    page.get_by_role("tab", name="Create", exact=True).click()
    page.evaluate("window.weft.useTemplate('text-to-image')")
    page.wait_for_function("window.weft.doc.template === 'text-to-image'")
    page.evaluate("window.weft.openTab('Compare')")
    page.wait_for_function("document.querySelectorAll('#weft-compare .w-axis').length < 2")
    page.evaluate("window.weft.doc.set(window.weft.doc.field('prompt'), 'a red star')")  # varies nothing else
    page.evaluate("window.weft.useTemplate('regions')")
    page.wait_for_function("window.weft.doc.template === 'regions'")
    page.wait_for_function("document.querySelectorAll('#weft-compare .w-axis').length === 2")
    assert page.evaluate(varied) == before


def test_hostile_words_stay_text_on_a_dark_phone(open_page):
    page = open_page("?__theme=dark", **PHONE)
    page.evaluate("void (window.alert = () => { window.ran = true; })")
    enter(page, HOSTILE)
    page.locator("#weft-compare [data-starter=prompt]").tap()
    axis(page, 0).get_by_role("button", name="Whole texts").click()
    axis(page, 0).get_by_label("Values of Prompt").fill(HOSTILE + "\na red star")
    page.locator("#weft-table th", has_text="onerror").first.wait_for(timeout=LONG)
    assert page.evaluate("window.ran") is None and page.locator("#weft-compare img[src=x]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_what_went_wrong_stays_until_something_is_changed(weft, open_page, monkeypatch):
    def full(*args: Any) -> Any:
        raise RuntimeError("the memory is full today")

    page = open_page(document=fresh(weft))
    enter(page, steps=2)
    only_words(page, "red, yellow")
    told(page, "2 pictures")
    monkeypatch.setattr("studio.nodes.image.decode_latent", full)
    ran(page, page.locator("#weft-sweep").click, "error")
    page.locator("#weft-takes", has_text="It takes").wait_for()  # what is left to make was asked anew
    said = page.locator("#weft-compare").get_by_text("the memory is full today")
    assert said.is_visible(), "the estimate after a run took away why it failed"
    axis(page, 0).get_by_label("Values of Prompt").fill("red, green")
    said.wait_for(state="hidden")
