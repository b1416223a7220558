"""Makes the pictures of the docs: every tab in light and in dark, Create and Edit on a phone.

python tests/e2e/screens.py [--out docs/pictures] [--steps 20] [--home DIR]    (needs Chromium and Playwright)
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from studio.policy import Policy  # noqa: E402
from studio.settings import Settings  # noqa: E402
from studio.studio import Studio  # noqa: E402
from studio.ui.build import serve  # noqa: E402

FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
PROMPTS = (
    "a white house in the middle, in the snow",
    "a yellow boat in the middle, by the sea",
    "a large green tree on the right, at sunset",
    "a purple fish, underwater",
    "a red star on the left and a blue house on the right, at night",
)
DESK = {"viewport": {"width": 1360, "height": 860}}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 1.5,
    "is_mobile": True,
    "has_touch": True,
}
SLOW = 600_000  # ms: a picture may take minutes while a model is trained beside it


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--home", type=Path, help="a home with pictures: nothing is made if it has enough")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(Settings(home=args.home or Path(folder), port=0), Policy.local(), serve=True)
        served = serve(studio)
        try:
            made = studio.history.count("local")
            shoot(served.url, args.out, args.steps, [] if made >= len(PROMPTS) else PROMPTS[made:])
        finally:
            served.close()
            studio.close()
    return 0


def shoot(url: str, out: Path, steps: int, prompts: list[str] | tuple[str, ...]) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS.split())

        def page(theme: str, **options: Any) -> Any:
            context = browser.new_context(**options)
            context.add_init_script("localStorage['weft-guided'] ||= 'yes'")
            page = context.new_page()
            page.goto(f"{url}?__theme={theme}")
            page.locator("#weft-go").wait_for()
            page.wait_for_load_state("networkidle")
            return page

        def snap(page: Any, name: str) -> None:
            page.evaluate("document.fonts.ready")
            page.wait_for_timeout(500)
            save(page.screenshot(), out / f"{name}.png")

        desk = page("light", **DESK)
        if prompts and len(prompts) == len(PROMPTS):
            snap(desk, "create-empty")
        for prompt in prompts:
            make(desk, prompt, steps, lambda page: snap(page, "create-preview"))
        fill(desk)
        snap(desk, "create-light")
        desk.locator("#weft-knows").click()
        snap(desk, "create-words")
        desk.keyboard.press("Escape")
        every_tab(desk, lambda name: snap(desk, f"{name}-light"))
        sub_graph(desk, lambda name: snap(desk, name))
        desk.close()
        dark = page("dark", **DESK)
        fill(dark)
        snap(dark, "create-dark")
        every_tab(dark, lambda name: snap(dark, f"{name}-dark"))
        dark.close()
        phone = page("dark", **PHONE)
        snap(phone, "create-phone")
        edit(phone)
        phone.evaluate("scrollTo(0, 0)")
        snap(phone, "edit-phone")
        browser.close()


def save(shot: bytes, path: Path) -> None:
    """A picture of a page, as small as a PNG with all of its colours can be."""
    from PIL import Image

    Image.open(BytesIO(shot)).convert("RGB").save(path, optimize=True)


def fill(page: Any) -> None:
    """The last prompt, whose picture is shown."""
    page.locator(".w-prompt textarea").fill(PROMPTS[-1])
    page.locator("#weft-strip .w-thumb").first.wait_for(timeout=SLOW)


def every_tab(page: Any, snap: Any) -> None:
    """Every tab beside Create, each with something in it."""
    page.get_by_role("tab", name="Graph").click()
    page.locator(".react-flow__node[data-id=sample] .g-head strong").click()
    snap("graph")
    regions(page)
    snap("regions")
    edit(page)
    snap("edit")
    see(page)
    snap("see")
    upscale(page)
    snap("upscale")
    page.get_by_role("tab", name="History").click()
    page.locator(".w-card img").first.wait_for()
    snap("history")
    page.locator("#weft-grid button").first.click()
    page.locator("dialog .w-times").wait_for(state="attached")
    snap("history-picture")
    page.keyboard.press("Escape")
    for name in ("Models", "Help"):
        page.evaluate("(name) => window.weft.openTab(name)", name)
        page.locator(f"#weft-{name.lower()} h2").wait_for()
        snap(name.lower())
    page.evaluate("window.weft.openTab('Create')")
    page.evaluate(
        "(text) => window.weft.reuse(window.weft.pictures.list.findLast((p) => p.prompt === text), 'all')",
        PROMPTS[-1],
    )
    page.wait_for_function("window.weft.doc.template === 'text-to-image'")
    compare(page)
    snap("compare")


def sub_graph(page: Any, snap: Any) -> None:
    """The ready workflow that is made of one sub-graph three times: from outside, then inside of one."""
    page.evaluate("window.weft.openTab('Graph')")
    page.evaluate("window.weft.useTemplate('three-moods')")
    page.locator(".react-flow__node[data-id=snow]").wait_for()
    run(page, "#weft-graph-run")
    page.wait_for_function("document.querySelectorAll('.g-node .g-picture img').length === 3", timeout=SLOW)
    page.get_by_role("button", name="Fit the view").first.click()
    page.locator(".react-flow__pane").click(position={"x": 20, "y": 20})
    snap("graph-sub-graphs")
    page.locator(".react-flow__node[data-id=night] .g-head strong").dblclick()
    page.get_by_role("button", name="Inputs and outputs").click()
    page.get_by_label("Name of the sub-graph").wait_for()
    snap("graph-inside")


def run(page: Any, button: str) -> None:
    """Presses a button and waits for the end of its run."""
    page.locator(button).click()
    page.wait_for_function("window.weft.run.live", timeout=SLOW)
    page.wait_for_function("!window.weft.run.live", timeout=SLOW)


def regions(page: Any) -> None:
    page.get_by_role("tab", name="Regions").click()
    page.locator("#weft-lay-out").click()
    page.locator("#weft-regions .w-regions > li").nth(1).wait_for()
    page.locator("#weft-regions .w-region-number").first.click()


def edit(page: Any) -> None:
    """A thing of the newest picture of text alone is picked, and one word of its prompt changed."""
    page.evaluate("window.weft.openTab('Edit')")
    page.locator("#weft-edit .w-thumb[title^='a red star']").last.click()
    page.wait_for_function("document.querySelector('#weft-edit textarea').value.length > 0")
    page.locator("#weft-paint-place").click()
    page.locator("#weft-edit .w-chip", has_text="star").click()
    page.wait_for_function("/\\d+ %/.test(document.querySelector('#weft-where').textContent)", timeout=SLOW)
    page.get_by_label("What it shall show").fill(PROMPTS[-1].replace("red", "green"))


def see(page: Any) -> None:
    page.get_by_role("tab", name="See", exact=True).click()
    run(page, "#weft-look")
    page.locator("#weft-see-words [data-word=star]").click(timeout=SLOW)
    page.locator("#weft-see .w-heat").wait_for()


def upscale(page: Any) -> None:
    page.get_by_role("tab", name="Upscale", exact=True).click()
    page.locator("#weft-upscale .w-thumb[title^='a red star']").first.click()
    page.locator("#weft-upscale-sum", has_text="becomes").wait_for()
    run(page, "#weft-upscale-go")
    page.locator("#weft-upscale-graph").wait_for()


def compare(page: Any) -> None:
    """Two words of the prompt, three values each; leaves the filled table in view."""
    page.get_by_role("tab", name="Compare").click()
    for place, values in enumerate(("star, heart, balloon", "red, green, purple")):
        axis = page.locator("#weft-compare .w-axis").nth(place)
        if not axis.count():
            page.locator("#weft-compare [data-starter=prompt]:visible, #weft-axis-more").first.click()
        axis.get_by_role("combobox").select_option("Prompt")
        axis.get_by_role("button", name=values.split(",")[0], exact=True).click()
        axis.get_by_label("Values of Prompt").fill(values)
    page.locator("#weft-sum", has_text="9 pictures").wait_for(timeout=SLOW)
    if page.locator("#weft-sweep").is_enabled():  # else a home that has them all
        page.locator("#weft-sweep").click()
        page.locator("#weft-job .w-state[data-state=running]").wait_for(timeout=SLOW)
        page.locator("#weft-job .w-state[data-state=done]").wait_for(timeout=SLOW)
    page.locator("#weft-takes", has_text="there already").wait_for(timeout=SLOW)


def make(page: Any, prompt: str, steps: int, on_preview: Any) -> None:
    page.locator(".w-prompt textarea").fill(prompt)
    page.locator("[data-widget=steps] input[type=number]").evaluate(
        "(input, steps) => { input.value = steps; input.dispatchEvent(new Event('change')); }", steps
    )
    page.keyboard.press("Control+Enter")
    page.locator("#weft-mat .w-forming img").wait_for(timeout=SLOW)
    page.wait_for_function(
        "window.weft.run.snapshot.job.step >= window.weft.run.snapshot.job.total * 0.6", timeout=SLOW
    )
    on_preview(page)
    page.locator("#weft-job .w-state[data-state=done]").wait_for(timeout=SLOW)


if __name__ == "__main__":
    raise SystemExit(main())
