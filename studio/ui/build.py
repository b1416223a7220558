"""One Blocks app: the tabs, the job line around them, the hidden channels, and how it is served."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import AsyncIterator  # at run time: gradio reads the hints of handlers
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported

import gradio as gr
from starlette.middleware import Middleware

from studio.errors import StudioError
from studio.ui import asked
from studio.ui.compare_tab import CompareTab
from studio.ui.create import CreateTab
from studio.ui.edit_masks import EditMasks
from studio.ui.edit_tab import EditTab
from studio.ui.facts import facts
from studio.ui.graph_tab import GraphTab, targets_of
from studio.ui.graph_view import broken_plugins, graph_routes
from studio.ui.history_tab import HistoryTab
from studio.ui.manifest import manifest_routes
from studio.ui.more_tabs import MOUNT, more_tabs, tab
from studio.ui.owners import Owners
from studio.ui.pictures import Pictures
from studio.ui.public_api import PublicApi
from studio.ui.regions_tab import RegionsTab, start_of
from studio.ui.see_tab import SeeTab
from studio.ui.theme import gradio_theme
from studio.ui.upscale_tab import UpscaleTab
from studio.ui.web import Guard, PageFiles
from studio.ui.window import open_page

if TYPE_CHECKING:
    from studio.studio import Studio

log = logging.getLogger(__name__)
OPEN = "const at = element.querySelector('.weft-mount'); window.weft.facts = props.facts; "
PRIVATE = {"api_visibility": "private", "show_progress": "hidden", "queue": True}


def build(studio: Studio) -> gr.Blocks:
    """The page of a studio. Loads no weights; a person's data arrives when a page is opened, never here."""
    owners = Owners(studio.settings.home, public=studio.policy.is_public)
    pictures = Pictures(studio, owners)
    create_tab, history_tab = CreateTab(studio, owners, pictures), HistoryTab(studio, owners, pictures)
    regions_tab = RegionsTab(studio, owners)
    see_tab = SeeTab(studio, owners)
    upscale_tab = UpscaleTab(studio, owners)
    compare_tab = CompareTab(studio, owners, pictures)
    edit_tab = EditTab(studio, owners, create_tab.templates)
    edit_masks = EditMasks(studio, owners)
    graph_tab = GraphTab(studio, owners, create_tab.templates)
    files = PageFiles(studio.settings.assets_folder)
    view = partial(gr.HTML, apply_default_css=False, head=files.script_tag())
    known = facts(studio) | {"templates": [card.to_json() for card in create_tab.templates.cards]}

    with gr.Blocks(
        title="Weft", fill_width=True, analytics_enabled=False, delete_cache=(3600, 86400)
    ) as demo:
        visitor = gr.BrowserState("", storage_key="weft-visitor", secret="weft")
        view(
            "{}",
            html_template=MOUNT,
            elem_id="weft-chrome",
            facts=known,
            js_on_load=OPEN + "window.weft.chrome(at, {facts: props.facts})",
        )
        with gr.Tabs(elem_id="weft-tabs"):
            with gr.Tab("Create", id="create"):
                create = view(
                    create_tab.start_message(),
                    html_template=MOUNT,
                    elem_id="weft-create",
                    facts=known,
                    js_on_load=OPEN + "window.weft.create(at, {props, trigger, watch}); "
                    "// its events: 'run' 'stop' 'keep' 'reuse' 'open' 'parked' 'choose' 'examine' 'bring' "
                    "'vary' 'masks' 'shelf' 'found'",
                )
            regions = _desk_tab(view, "Regions", start_of(studio, "regions"), "lint plan mask look")
            edit = _desk_tab(view, "Edit", start_of(studio, "edit-picture"), "source bring mask look thing")
            with gr.Tab("Graph", id="graph"):
                graph = view(
                    "{}",
                    html_template=MOUNT,
                    elem_id="weft-graph",
                    head=files.script_tag() + files.graph_tags(),
                    facts=known,
                    js_on_load=OPEN
                    + "window.weft.graph(at, {props, trigger, watch}); // its events: 'look' 'hand_out'",
                )
            see = _desk_tab(view, "See", start_of(studio, "see-words"), "maps mask look",
                            estimates=start_of(studio, "estimates"))  # fmt: skip
            upscale = _desk_tab(view, "Upscale", start_of(studio, "upscale"), "look source bring plan make")
            compare = _desk_tab(view, "Compare", {}, "estimate sweep sheet")
            with gr.Tab("History", id="history"):
                history = view(
                    "{}",
                    html_template=MOUNT,
                    elem_id="weft-history",
                    facts=known,
                    js_on_load=OPEN
                    + "window.weft.history(at, {props, trigger, watch}); "
                    "// its events: 'search' 'mark' 'look' 'replay' 'export'",
                )
            more_tabs(studio, owners, view, visitor, PRIVATE)
        status = view(
            "{}",
            html_template="",
            visible="hidden",
            elem_id="weft-status",
            js_on_load="watch('value', () => window.weft.run.receive(props.value))",
        )
        problems = view(
            "{}",
            html_template="",
            visible="hidden",
            elem_id="weft-problems",
            js_on_load="watch('value', () => window.weft.emit('problems', window.weft.parse(props.value)))",
        )
        shelf = view(
            "{}",
            html_template="",
            visible="hidden",
            elem_id="weft-shelf",
            js_on_load="watch('value', () => window.weft.pictures.receive(props.value))",
        )

        async def run(value: str, token: str, event: gr.EventData) -> AsyncIterator[str]:
            parents, other = asked.given(event, "parents"), asked.given(event, "document")
            more = asked.given(event, "series"), asked.given(event, "page")
            async for message in create_tab.run(other or value, token, targets_of(event), parents, *more):
                yield message

        async def attach(token: str) -> AsyncIterator[str]:
            sweep = compare_tab.live(token)
            async for message in compare_tab.follow(sweep) if sweep else create_tab.attach(token):
                yield message

        async def sweep(token: str, event: gr.EventData) -> AsyncIterator[str]:
            async for message in compare_tab.start(token, event):
                yield message

        def stop(token: str, event: gr.EventData) -> None:
            if not compare_tab.halt(token, event):
                create_tab.stop(token, event)

        async def parked(token: str, event: gr.EventData) -> AsyncIterator[str]:
            async for message in create_tab.parked(token, event):
                yield message

        # Subscriptions hold no lock and no worker: runs wait in the studio's queue, which tells their place.
        follow = {**PRIVATE, "concurrency_limit": None, "trigger_mode": "multiple"}
        # gradio's "always_last" keeps no event data: what waited is sent with those of the event before it.
        each = {**PRIVATE, "trigger_mode": "multiple"}
        in_turn = {**each, "concurrency_limit": 1}
        create.run(run, [create, visitor], [status], **follow)
        create.stop(stop, [visitor], None, **follow)
        create.parked(parked, [visitor], [status], **follow)
        create.keep(create_tab.keep, [visitor], [status], **follow)
        create.reuse(create_tab.reuse, [visitor], [create], **PRIVATE)
        create.masks(regions_tab.masks, None, [create], **each)
        create.vary(create_tab.vary, [visitor], [create], **PRIVATE)
        create.shelf(history_tab.shelf, [visitor], [visitor, shelf], **PRIVATE)
        create.open(create_tab.open, None, [create], **PRIVATE)
        create.choose(create_tab.choose, [create], [create], **in_turn)
        create.examine(create_tab.examine, [create], [problems], **{**PRIVATE, "trigger_mode": "always_last"})
        create.found(create_tab.found, [create], [create], **in_turn)
        create.bring(create_tab.bring, [visitor], [create], **each)
        graph.look(graph_tab.look, [graph, visitor], [graph], **each)
        graph.hand_out(graph_tab.hand_out, [graph], [graph], **each)
        history.replay(history_tab.replay, [visitor], [history, status], **follow)
        for name in ("search", "mark", "export", "look"):
            getattr(history, name)(getattr(history_tab, name), [visitor], [history], **follow)
        if regions is not None:
            regions.lint(regions_tab.lint, None, [regions], **in_turn)
            regions.plan(regions_tab.plan, None, [regions], **PRIVATE)
            regions.mask(regions_tab.mask, [visitor], [regions], **each)
            regions.look(regions_tab.look, [visitor], [regions], **each)
        if edit is not None:
            edit.source(edit_tab.source, [visitor], [edit], **each)
            edit.bring(edit_tab.bring, [visitor], [edit], **PRIVATE)
            for name in ("mask", "look", "thing"):
                getattr(edit, name)(getattr(edit_masks, name), [visitor], [edit], **each)
        if see is not None:
            see.maps(see_tab.maps, [visitor], [see], **each)
            see.mask(see_tab.mask, [visitor], [see], **each)
            see.look(see_tab.look, [visitor], [see], **each)
        if upscale is not None:
            upscale.look(upscale_tab.look, [visitor], [upscale], **{**PRIVATE, "trigger_mode": "always_last"})
            for name in ("source", "bring", "plan", "make"):
                getattr(upscale, name)(getattr(upscale_tab, name), [visitor], [upscale], **each)
        if compare is not None:
            compare.estimate(compare_tab.estimate, [visitor], [compare], **follow)
            compare.sweep(sweep, [visitor], [status], **follow)
            compare.sheet(compare_tab.sheet, [visitor], [compare], **PRIVATE)
        demo.load(history_tab.shelf, [visitor], [visitor, shelf], **PRIVATE).then(
            attach, [visitor], [status], **follow
        )
        PublicApi(studio, owners, pictures).register()

    demo.weft_routes = [*files.routes(), *pictures.routes(), *graph_routes(studio)]
    demo.weft_routes += history_tab.exports.routes()
    demo.weft_routes += manifest_routes(studio.settings.assets_folder / "icons")
    demo.weft_head = files.head()
    return demo


def _desk_tab(
    view: partial[gr.HTML], title: str, start: object, events: str, **props: object
) -> gr.HTML | None:
    """A tab over a ready workflow (assets/ui/desk.js); None where that workflow cannot run here."""
    return None if start is None else tab(view, title, events, at_once=True, desk=start, **props)


@dataclass(frozen=True)
class Served:
    """A running page. `url`: address on this computer, with a slash at the end."""

    url: str
    demo: gr.Blocks

    def close(self) -> None:
        self.demo.close(verbose=False)


def serve(studio: Studio, *, host: str | None = None, port: int | None = None) -> Served:
    """Starts the page and returns. Host and port default to the settings; port 0 takes a free one.

    Raises StudioError when the port is taken.
    """
    settings, policy = studio.settings, studio.policy
    host = host or settings.host
    port = _port(host, settings.port if port is None else port)
    demo = build(studio)
    demo.queue(max_size=None if not policy.is_public else 200, default_concurrency_limit=4)
    guard = partial(Guard, settings=settings, port=port, cap=policy.max_upload_bytes)
    icon = settings.assets_folder / "icons" / "weft.png"
    app, _, _ = demo.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        inbrowser=False,
        share=False,
        theme=gradio_theme(),
        head=demo.weft_head,
        favicon_path=str(icon),
        pwa=not policy.is_public,
        ssr_mode=False,
        run_history=False,
        enable_monitoring=False,
        footer_links=[],
        strict_cors=True,
        max_file_size=policy.max_upload_bytes,
        show_error=not policy.is_public,
        app_kwargs={"openapi_url": None, "routes": demo.weft_routes, "middleware": [Middleware(guard)]},
    )
    app.middleware_stack = guard(app.middleware_stack or app.build_middleware_stack())
    name = f"[{host}]" if ":" in host else host
    return Served(f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else name}:{port}/", demo)


def launch(studio: Studio) -> int:
    """Serves the page until Ctrl+C and returns the exit code; prints the address."""
    served = serve(studio)
    for plugin in broken_plugins(studio):
        where = f"{plugin.file}:{plugin.line}" if plugin.line else plugin.file
        sys.stdout.write(f"Not loaded: plugins/{where}: {plugin.message} {plugin.hint}".rstrip() + "\n")
    sys.stdout.write(f"Weft is open at {served.url}  (stop with Ctrl+C)\n")
    sys.stdout.flush()
    if studio.settings.open_browser:
        open_page(served.url, window=studio.settings.window)
    try:
        served.demo.block_thread()
    except KeyboardInterrupt:
        pass
    finally:
        served.close()
    return 0


def _port(host: str, port: int) -> int:
    """The port to bind, proven free a moment before. Raises StudioError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if os.name == "posix":  # a port in TIME_WAIT is free; on Windows this flag would share a busy one
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StudioError(
                f"Port {port} on {host} cannot be used: {error.strerror or error}.",
                hint="Close the other program or choose a port with --port.",
            ) from None
        return int(probe.getsockname()[1])
