"""What a browser needs to install the page like a desktop app: our manifest and icons.

There is no service worker: browsers install without one, and a cache of its own would keep private pictures
and old scripts outside the studio's control.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

KEPT = {"Cache-Control": "public, max-age=3600"}
ICONS = (
    ("icon-192.png", 192, "any"),
    ("icon-512.png", 512, "any"),
    ("icon-maskable-512.png", 512, "maskable"),
)
TABS = (("Create", "create"), ("History", "history"))
MANIFEST = {
    "id": "./",
    "name": "Weft",
    "short_name": "Weft",
    "description": "An image studio that shows and steers how a picture is made.",
    "start_url": "./",
    "scope": "./",
    "display": "standalone",
    "theme_color": "#f4efe6",
    "background_color": "#f4efe6",
    "icons": [
        {"src": f"weft/icons/{name}", "sizes": f"{side}x{side}", "type": "image/png", "purpose": purpose}
        for name, side, purpose in ICONS
    ],
    "shortcuts": [{"name": title, "url": f"./?tab={name}"} for title, name in TABS],
}


def manifest_routes(icons: Path) -> list[Route]:
    """Stand before gradio's own /manifest.json and /pwa_icon."""

    def manifest(request: Request) -> Response:
        return JSONResponse(MANIFEST, media_type="application/manifest+json", headers=KEPT)

    return [
        Route("/manifest.json", manifest, methods=["GET"]),
        Route("/pwa_icon", _file(icons / "icon-512.png"), methods=["GET"]),
        Route("/pwa_icon/192", _file(icons / "icon-192.png"), methods=["GET"]),
        Route("/pwa_icon/512", _file(icons / "icon-512.png"), methods=["GET"]),
    ]


def _file(path: Path) -> Callable[[Request], Response]:
    def serve(request: Request) -> Response:
        return FileResponse(path, media_type="image/png", headers=KEPT)

    return serve
