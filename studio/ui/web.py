"""The thin layer in front of gradio: which host, origin, route and size a request may have, and safe headers.

It answers the holes 3, 4, 5, 9, 11, 12 and 14 of the design's security document, section 3. The page's own
files are served here too, below /weft/.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.settings import Settings

ROUTES = re.compile(
    r"/|/assets/.+|/static/.+|/theme\.css|/favicon\.ico|/manifest\.json|/pwa_icon(/.+)?|/config/?|/weft/.+"
    r"|/gradio_api/(file=.+|queue/(join|data)|cancel|reset|upload|upload_progress|heartbeat/.+|startup-events|info"
    r"|app_id|call/.+)",
)
SAFE = ("GET", "HEAD")
CSP = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors {ancestors}"
)
SCRIPTS = (  # in this order
    "weft.js", "language.js", "kept.js", "origin.js", "chrome.js", "stage.js", "fields.js", "presets.js",
    "found.js", "region_canvas.js", "mask_paint.js", "regions.js", "template_art.js", "templates.js",
    "create.js", "history.js", "picture_detail.js", "desk.js",
    "region_looks.js", "regions_tab.js", "edit_mask.js", "edit_tab.js", "see_tab.js", "upscale_tab.js",
    "compare_axes.js", "compare_view.js", "compare_tab.js",
    "models_tab.js", "help_tab.js",
)  # fmt: skip

STYLES = ("tabs.css", "places.css", "compare.css", "masks.css", "upscale.css", "create.css")  # in this order


class TooLargeError(Exception):
    """The body of a request went over the cap while it was read."""


class Guard:
    """ASGI class: refuses what does not belong here before gradio sees it, and adds headers to every answer.

    `cap`: largest body of a request in bytes. Its place is around gradio's whole stack (also its CORS layer).
    """

    def __init__(self, app: ASGIApp, *, settings: Settings, port: int, cap: int) -> None:
        self.app = app
        self.settings = settings
        self.port = port
        self.cap = cap
        ancestors = "https://huggingface.co" if settings.space else "'none'"
        self._headers = [
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"content-security-policy", CSP.format(ancestors=ancestors).encode()),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page uses no WebSocket
            await send({"type": "websocket.close", "code": 1008})
            return
        refusal = self._refusal(scope)
        guarded_send = self._with_headers(send)
        if refusal is not None:
            await refusal(scope, receive, guarded_send)
            return
        if not self.settings.space:  # only a Space stands behind a proxy that we know
            scope["headers"] = [h for h in scope["headers"] if not h[0].lower().startswith(b"x-forwarded-")]
        try:
            await self.app(scope, self._counted(receive), guarded_send)
        except TooLargeError:
            await PlainTextResponse("This request is too large.", 413)(scope, receive, guarded_send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if not self.allows_host(host):
            return PlainTextResponse("This address does not belong to the studio.", 403)
        origin = headers.get(b"origin")
        if origin is not None and not _same_origin(origin, host):
            return PlainTextResponse("Requests from other pages are refused.", 403)
        if scope["method"] not in SAFE and origin is None and b"cookie" in headers:
            return PlainTextResponse("A request with a cookie needs its origin.", 403)
        if not ROUTES.fullmatch(scope["path"]):
            return PlainTextResponse("Not found", 404)
        length = headers.get(b"content-length", "0")
        if not length.isdecimal() or int(length) > self.cap:
            return PlainTextResponse("This request is too large.", 413)
        return None

    def allows_host(self, host: str) -> bool:
        """Whether a Host header names this studio. Another name is DNS rebinding; an address cannot be."""
        name, port = _split(host)
        if name is None:
            return False
        if self.settings.space and name == self.settings.space_host.lower():
            return True
        if name in ("localhost", "127.0.0.1", "::1"):
            return port == self.port
        if not self.settings.public:
            return False
        return _is_address(name) or name == socket.gethostname().lower()

    def _counted(self, receive: Receive) -> Receive:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.cap:
                raise TooLargeError
            return message

        return counted

    def _with_headers(self, send: Send) -> Send:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = {name for name, _ in self._headers}
                kept = [h for h in message.get("headers", ()) if h[0].lower() not in ours]
                message = {**message, "headers": [*kept, *self._headers]}
            await send(message)

        return with_headers


def _split(host: str) -> tuple[str | None, int | None]:
    """Name and port of a Host header; (None, None) for anything else than a host with an optional port."""
    try:
        parts = urlsplit("//" + host)
        bare = not (parts.path or parts.query or parts.fragment or parts.username)
        return (parts.hostname, parts.port) if bare and parts.hostname else (None, None)
    except ValueError:
        return None, None


def _same_origin(origin: str, host: str) -> bool:
    scheme, _, place = origin.partition("://")
    return scheme in ("http", "https") and place.lower() == host.lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class PageFiles:
    """The page's script, style, fonts and icons, and the <head> that names them with their content hash."""

    def __init__(self, assets: Path) -> None:
        self._ui = assets / "ui"
        self._icons = assets / "icons"
        self._graph = assets / "graph" / "dist"
        self._script = "\n".join((self._ui / name).read_text("utf-8") for name in SCRIPTS)
        self._style = (assets / "theme.css").read_text("utf-8") + "".join(
            (self._ui / name).read_text("utf-8") for name in STYLES
        )

    def script_tag(self) -> str:
        return f'<script src="weft/page.js?v={_version(self._script)}"></script>'

    def graph_tags(self) -> str:
        """Script and style of the graph editor; asked for when its tab is first opened."""
        names = ("graph.js", "graph.css")
        script, style = (_version((self._graph / name).read_text("utf-8")) for name in names)
        return (
            f'<link rel="stylesheet" href="weft/graph/graph.css?v={style}">'
            f'<script src="weft/graph/graph.js?v={script}"></script>'
        )

    def head(self) -> str:
        style = f"weft/theme.css?v={_version(self._style)}"
        fonts = "".join(
            f'<link rel="preload" as="font" type="font/woff2" href="weft/ui/fonts/{name}.woff2" crossorigin>'
            for name in ("instrument-sans", "newsreader")
        )
        return f'{fonts}<link rel="stylesheet" href="{style}"><meta name="color-scheme" content="light dark">'

    def routes(self) -> list[Route]:
        return [
            Route("/weft/page.js", self._page_js, methods=["GET"]),
            Route("/weft/theme.css", self._theme_css, methods=["GET"]),
            Route("/weft/ui/{name:path}", self._file(self._ui), methods=["GET"]),
            Route("/weft/icons/{name:path}", self._file(self._icons), methods=["GET"]),
            Route("/weft/graph/{name:path}", self._file(self._graph), methods=["GET"]),
        ]

    def _page_js(self, request: Request) -> Response:
        return _text(self._script, "text/javascript", request)

    def _theme_css(self, request: Request) -> Response:
        return _text(self._style, "text/css", request)

    @staticmethod
    def _file(folder: Path) -> Callable[[Request], Response]:
        """Serves the files that lie in `folder` now; nothing outside it and nothing that appears later."""
        root = folder.resolve()
        known = {
            p.relative_to(root).as_posix(): p for p in root.rglob("*") if p.is_file() and not p.is_symlink()
        }

        def serve(request: Request) -> Response:
            path = known.get(request.path_params["name"])
            if path is None:
                return PlainTextResponse("Not found", 404)
            return FileResponse(path, headers={"Cache-Control": "public, max-age=3600"})

        return serve


def _text(text: str, kind: str, request: Request) -> Response:
    """A versioned address may be kept for ever; one without a version must be asked for again."""
    kept = "public, max-age=31536000, immutable" if "v" in request.query_params else "no-cache"
    return Response(text, media_type=kind, headers={"Cache-Control": kept})


def _version(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
