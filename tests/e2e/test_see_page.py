"""See in Chromium: a word is clicked and its map lies over the picture, where that word's thing is."""

from __future__ import annotations

from typing import Any

from e2e_hands import HOSTILE, MARKS, PEAK, PHONE, lock_seed, make, ran, write

pytestmark = MARKS
# words of its own: Look takes up a picture of the same words that is there already
WORDS = "a blue house on the right and a red star on the left, at night"


def enter(page: Any, text: str = WORDS) -> None:
    write(page, text)
    lock_seed(page, 1068141294)
    page.get_by_role("tab", name="See", exact=True).click()
    page.get_by_text("Where does each word act?").wait_for()


def test_a_clicked_word_shows_where_it_acts_and_its_mask_becomes_a_region(weft, open_page):
    page = open_page()
    enter(page)
    assert page.evaluate("window.weft.doc.template") == "text-to-image", "looking changes nothing yet"
    will = page.locator("#weft-see-will")
    assert "paints these words anew" in will.inner_text()
    ran(page, page.locator("#weft-look").click)
    page.locator("#weft-see-will", has_text="was looked at").wait_for()
    page.locator("#weft-see textarea").fill("a green moon")
    assert "paints these words anew" in will.inner_text()
    page.locator("#weft-see-strip [aria-current=true]").click()
    assert page.locator("#weft-see textarea").input_value() == WORDS
    page.locator("#weft-see-will", has_text="was looked at").wait_for()
    star = page.locator("#weft-see-words [data-word=star]")
    star.click()
    page.locator("#weft-see .w-heat").wait_for()
    if weft.trained:
        assert page.evaluate(PEAK, "#weft-see .w-heat") < 0.5
        page.locator("#weft-see-words [data-word=house]").click()
        assert page.evaluate(PEAK, "#weft-see .w-heat") > 0.5
    shape = "document.querySelector('#weft-see .w-shape')"
    inside = f"""(() => {{
      const c = {shape}, d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
      return d.filter((_, i) => i % 4 === 3 && d[i] > 127).length; }})()"""
    page.locator("#weft-show-mask").click()
    page.wait_for_function(f"!{shape}.hidden && {inside} > 0")
    before = page.evaluate(inside)
    page.get_by_label("How much of it").first.fill("75")
    page.wait_for_function(f"{inside} > {before}")
    page.locator("#weft-show-mask").click()
    page.locator("#weft-see .w-heat").wait_for()
    page.locator("#weft-see [data-view=steps]").click()
    assert page.locator("#weft-see .w-small-map").count() == 20
    page.locator("#weft-see .w-small-map").first.click()
    page.locator("#weft-see .w-small-map").nth(0).press("Tab")
    page.locator("#weft-see [data-view=blocks]").click()
    assert page.locator("#weft-see .w-small-map").count() >= 2
    page.locator("#weft-see [data-to=edit]").click()  # Regions was never opened here
    page.wait_for_function("/\\d+ %/.test(document.querySelector('#weft-where')?.textContent)")
    page.get_by_role("tab", name="See", exact=True).click()
    page.locator("#weft-see [data-to=regions]").click()
    page.locator("#weft-regions .w-mask-layer").wait_for()
    page.locator("#weft-regions .w-regions > li").first.wait_for()


def test_a_page_that_came_back_looks_at_the_picture_of_its_words(open_page):
    page = open_page()
    make(page, "a white cup at the bottom, in snow", steps=2)
    page.reload()
    page.wait_for_function("() => Boolean(window.weft?.openTab)")
    page.evaluate("window.weft.openTab('See')")  # before the pictures are there
    page.locator("#weft-see-strip [aria-current=true]").wait_for()


def test_a_hostile_prompt_stays_text_on_a_dark_phone(open_page):
    page = open_page("?__theme=dark", **PHONE)
    page.evaluate("void (window.alert = () => { window.ran = true; })")
    words = f"{HOSTILE} seen"  # in no other test: a picture of the same words would be taken up
    enter(page, words)
    assert page.locator("#weft-see textarea").input_value() == words
    assert page.evaluate("window.ran") is None and page.locator("#weft-see img[src=x]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
