"""What the browser tests do to a page again and again; conftest.py hands it out as `e2e_hands`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

MARKS = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*(no_silent_downcasting|copy keyword)"),  # gradio, pandas 3
]
PROMPT = "a red star on the left and a blue house on the right, at night"
HOSTILE = "<img src=x onerror=alert(1)> ${alert(2)} {{alert(3)}} </script><script>alert(4)</script>"
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
LONG = 120_000  # ms; a first run loads the weights
# where a map that lies over a picture is strongest, from the left, 0..1
PEAK = """(selector) => {
  const canvas = document.querySelector(selector), pen = canvas.getContext('2d');
  const data = pen.getImageData(0, 0, canvas.width, canvas.height).data;
  let best = -1, at = 0;
  for (let i = 0; i < data.length; i += 4) {
    const light = (data[i] + data[i + 1] + data[i + 2]) * data[i + 3];
    if (light > best) { best = light; at = (i / 4) % canvas.width; }
  }
  return at / canvas.width;
}"""


def write(page: Any, text: str) -> None:
    page.locator(".w-prompt textarea").fill(text)


def state(page: Any, word: str, timeout: float = LONG) -> None:
    """Waits for a word of the job line; another end than the one awaited fails at once, with its text."""
    ends = {"done", "error", "stopped"} - {word}
    line = page.locator("#weft-job")
    line.locator(", ".join(f".w-state[data-state={end}]" for end in (word, *ends))).wait_for(timeout=timeout)
    text = line.inner_text()
    assert line.locator(".w-state").get_attribute("data-state") == word, text


def ran(page: Any, press: Callable[[], Any], word: str = "done", timeout: float = LONG) -> None:
    """Presses, and waits for the end of the run that begins by it: what is in the studio's cache already is
    done before any page has seen it running."""
    before = page.evaluate("window.weft.run.snapshot.run")
    press()
    page.wait_for_function(
        """(before) => {
          const { run } = window.weft;
          return run.snapshot.run !== before && run.snapshot.run && !run.live; }""",
        arg=before,
        timeout=timeout,
    )
    state(page, word, timeout)


def lock_seed(page: Any, seed: int) -> None:
    """This seed for every picture that follows."""
    page.evaluate("window.weft.remember.set('seed-lock', 'on')")
    page.evaluate(f"window.weft.doc.set(window.weft.doc.field('seed'), {seed})")


def set_steps(page: Any, steps: int) -> None:
    if page.locator("#weft-more").get_attribute("open") is None:
        page.locator("#weft-more summary").click()
    field = page.locator("[data-widget=steps] input[type=number]")
    field.fill(str(steps))
    field.press("Tab")


def make(page: Any, text: str = PROMPT, steps: int = 6) -> None:
    write(page, text)
    set_steps(page, steps)
    page.keyboard.press("Control+Enter")
    state(page, "done")


def reload(page: Any) -> None:
    """Reloads; gradio's own complaint about the event stream that a reload cuts is no fault."""
    before = len(page.watched.faults)
    page.reload()
    page.locator("#weft-go").wait_for(state="attached")
    cut = ("console: AbortError: signal is aborted", "console: Unexpected error Connection errored out.")
    page.watched.faults[before:] = [f for f in page.watched.faults[before:] if not f.startswith(cut)]


def shown(page: Any) -> Any:
    return page.locator("#weft-mat .w-print:not(.w-forming) img")
