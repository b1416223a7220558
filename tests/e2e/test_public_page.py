"""A host that strangers share, in Chromium: two visitors at once, each with own runs and own pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from e2e_hands import MARKS, lock_seed, reload, set_steps, state, write

from studio.policy import Policy
from studio.settings import Settings

pytestmark = MARKS
PROMPTS = ("a brown boat and a white heart at night", "an orange moon and a pink tree in the snow")
SECRETS = ("white heart", "pink tree")  # in no example of the page


@pytest.fixture(scope="module")
def weft(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A public studio in the place of the local one, served in the same way."""
    from studio.studio import Studio

    conftest = request.config.pluginmanager.get_plugin(str(request.path.with_name("conftest.py")))
    home = tmp_path_factory.mktemp("public")
    settings = Settings(home=home, port=0, device="cpu", open_browser=False)
    studio = Studio(settings, Policy.public(), serve=True)
    with conftest.gradio_may_leave_sockets():
        from studio.ui.build import serve

        served = serve(studio)
    yield conftest.Weft(served.url, studio, studio.workflow())
    with conftest.gradio_may_leave_sockets():
        served.close()
    studio.close()


def prompts(page: Any) -> list[str]:
    return page.evaluate("window.weft.pictures.list.map((p) => p.prompt)")


def everything(page: Any) -> str:
    """What a page shows and what it knows."""
    return page.content() + page.evaluate(
        "JSON.stringify([weft.run.snapshot, weft.pictures.list, weft.last, {...localStorage}])"
    )


def test_two_visitors_at_once_see_their_own_runs_pictures_and_prompts(weft, open_page):
    pages = [open_page() for _ in PROMPTS]
    for page, text, steps in zip(pages, PROMPTS, (40, 4), strict=True):
        write(page, text)
        lock_seed(page, 7)
        set_steps(page, steps)
    first, second = pages
    first.locator("#weft-go").click()
    state(first, "running")
    second.locator("#weft-go").click()
    second.locator(".w-dock-text").get_by_text("1 ahead of you").wait_for()
    for page in pages:
        state(page, "done")
        page.locator("#weft-strip button").nth(0).wait_for()
    for page, own, other in zip(pages, PROMPTS, SECRETS[::-1], strict=True):
        assert prompts(page) == [own]
        page.evaluate("window.weft.openTab('History')")
        page.wait_for_function("window.weft.historyCount().total === 1")
        page.locator("#weft-grid img").wait_for()
        assert other not in everything(page), "nothing of the other visitor reaches this page"

    made = first.evaluate("window.weft.pictures.list[0]")
    second.evaluate("window.weft.openTab('Create')")
    second.evaluate("(id) => window.weft.reuse({id}, 'all')", made["id"])  # its id alone opens nothing
    second.locator(".w-notice:not([hidden])").wait_for()
    assert second.locator(".w-prompt textarea").input_value() == PROMPTS[1]
    second.evaluate("(p) => window.weft.editThis(p)", made)
    second.locator("#weft-edit .w-unknown:not([hidden])").wait_for()
    assert second.evaluate("document.querySelector('#weft-edit textarea').value") == ""
    bare = made["url"].split("?")[0]
    with pytest.raises(HTTPError), urlopen(weft.url + bare):
        pass

    second.evaluate("window.weft.openTab('Create')")
    reload(second)  # the browser is known again
    second.locator("#weft-strip button").nth(0).wait_for()
    assert prompts(second) == [PROMPTS[1]]
