"""What the page does when things are long, many, too early, broken off or deleted; in Chromium."""

from __future__ import annotations

import time

import pytest
from e2e_hands import MARKS, make, set_steps, state, write

from studio.graph.document import dumps

pytestmark = MARKS


def test_the_header_and_the_picture_stay_while_the_settings_scroll(open_page):
    page = open_page()
    set_steps(page, 3)
    page.evaluate("scrollTo(0, 5000)")
    assert page.evaluate("scrollY") > 200
    assert page.locator("#weft-tabs > .tab-wrapper").bounding_box()["y"] == 0
    assert page.locator("#weft-mat").bounding_box()["y"] > 0


def test_many_warnings_leave_the_job_line_small(weft, open_page):
    if not weft.trained:
        pytest.skip("no embedded model, so no vocabulary")
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    make(page, "dragn blurb zzz floof qux wordz bargh", steps=2)
    assert page.locator("#weft-job").bounding_box()["height"] < 100
    assert page.locator("#weft-unknown").inner_text().count("and 1 more") == 1
    page.locator("#weft-all-said").tap()
    assert page.locator("dialog li").count() == 7


def test_too_long_and_empty_prompts_are_named_and_kept(open_page):
    page = open_page()
    long = "a red star " * 1500
    write(page, long)
    page.get_by_text("16,500 characters; at most 10,000 fit").wait_for()
    page.keyboard.press("Control+Enter")
    state(page, "error", timeout=20_000)
    assert page.locator(".w-prompt textarea").input_value() == long
    make(page, "", steps=2)
    assert page.get_by_text("The prompt is empty").is_visible()


def test_stop_before_the_studio_answers_stops_the_run(weft, open_page):
    page = open_page()
    set_steps(page, 200)
    page.evaluate("weft.generate(); weft.stop()")
    state(page, "stopped", timeout=2000)
    page.wait_for_timeout(1000)
    end = time.monotonic() + 20
    while weft.studio.live_run("local") is not None and time.monotonic() < end:
        time.sleep(0.05)
    assert weft.studio.live_run("local") is None
    assert page.locator("#weft-go").inner_text().startswith("Generate")


def test_a_press_that_the_studio_never_got_is_sent_again(open_page):
    page = open_page()
    write(page, "a yellow boat")
    set_steps(page, 2)
    page.route("**/*", lambda route: route.abort())  # the studio is away
    page.locator("#weft-go").click()
    page.locator("#weft-job").get_by_text("The studio does not answer").wait_for(timeout=60_000)
    assert not page.locator("#weft-send").is_visible()
    page.unroute("**/*")
    page.locator("#weft-send").click(timeout=60_000)
    state(page, "done")
    assert page.evaluate("window.weft.pictures.list[0].prompt") == "a yellow boat"
    page.watched.faults.clear()


def test_a_picture_is_starred_deleted_and_brought_back(weft, open_page):
    page = open_page()
    make(page, "a green star", steps=2)
    identity = page.locator("#weft-strip button").first.get_attribute("data-id")
    page.get_by_role("tab", name="History").click()
    card = page.locator(f"#weft-grid button[data-id='{identity}']")
    card.click()
    page.get_by_role("button", name="Star", exact=True).click()
    card.locator(".w-starred").wait_for()
    page.get_by_role("button", name="Delete").click()
    card.wait_for(state="detached")
    assert page.locator(f"#weft-strip button[data-id='{identity}']").count() == 0
    page.get_by_role("button", name="Undo").click()
    card.wait_for()
    assert weft.studio.history.show("local", identity).starred


def test_a_run_that_broke_off_is_offered_and_resumed(weft, open_page):
    jobs = weft.studio.jobs
    with jobs.db.transaction():  # no worker may take it in between
        run = jobs.add(dumps(weft.document))
        jobs.db.execute("UPDATE runs SET status = 'parked', crashes = 1 WHERE id = ?", (run.id,))
    page = open_page()
    page.locator("#weft-job .w-state[data-state=parked]").wait_for()
    page.locator("#weft-resume").click()
    state(page, "done")
    assert jobs.status(run.id) == "finished"
