"""Opening the page: in the browser, or (`--window`) in a window of its own where a browser can do that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path

# Browsers that open an address without tabs and address line: --app=URL. Firefox and Safari cannot.
NAMES = (
    "google-chrome", "google-chrome-stable", "chromium", "chromium-browser", "microsoft-edge",
    "microsoft-edge-stable", "brave-browser", "vivaldi", "chrome", "msedge",
)  # fmt: skip
MAC = ("Google Chrome", "Microsoft Edge", "Chromium", "Brave Browser", "Vivaldi")
WINDOWS = (
    r"Google\Chrome\Application\chrome.exe",
    r"Microsoft\Edge\Application\msedge.exe",
    r"BraveSoftware\Brave-Browser\Application\brave.exe",
)


def browsers(platform: str = sys.platform) -> Iterator[str]:
    """The programs on this computer that can open an app window, the likeliest first."""
    for name in NAMES:
        found = shutil.which(name)
        if found:
            yield found
    places: list[Path] = []
    if platform == "darwin":
        places = [Path(f"/Applications/{name}.app/Contents/MacOS/{name}") for name in MAC]
    elif platform == "win32":
        roots = [os.environ.get(name) for name in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")]
        places = [Path(root, place) for root in roots if root for place in WINDOWS]
    yield from (str(place) for place in places if place.is_file())


def open_page(
    url: str,
    *,
    window: bool,
    start: Callable[[list[str]], object] | None = None,
    tab: Callable[[str], object] = webbrowser.open,
) -> str:
    """Opens `url` and says how: "window" or "tab". `url`: the studio's own address, never a person's text."""
    start = start or _start
    for program in browsers() if window else ():
        try:
            start([program, f"--app={url}"])
        except OSError:
            continue
        return "window"
    tab(url)
    return "tab"


def _start(command: list[str]) -> None:
    none = subprocess.DEVNULL
    subprocess.Popen(command, stdin=none, stdout=none, stderr=none, start_new_session=os.name == "posix")
