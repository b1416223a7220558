"""The tabs beside the pictures: Models, and settings and help; built and wired in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.ui.help_tab import HelpTab
from studio.ui.models_tab import ModelsTab
from studio.ui.owners import Owners

if TYPE_CHECKING:
    from studio.studio import Studio

MOUNT = '<div class="weft-mount"></div>'


def more_tabs(
    studio: Studio,
    owners: Owners,
    view: Callable[..., gr.HTML],
    visitor: gr.BrowserState,
    private: Mapping[str, Any],
) -> None:
    """Adds the tabs; called inside `gr.Tabs`."""
    models_tab, help_tab = ModelsTab(studio, owners), HelpTab(studio, owners)
    latest = {**private, "trigger_mode": "always_last"}
    models = tab(view, "Models", "look")
    models.look(models_tab.look, [visitor], [models], **latest)
    page = tab(view, "Help", "look forget")
    page.look(help_tab.look, [visitor], [page], **latest)
    page.forget(help_tab.forget, [visitor], [page], **private)


def tab(
    view: Callable[..., gr.HTML], title: str, events: str, *, at_once: bool = False, **props: object
) -> gr.HTML:
    """A tab that `window.weft.<title>Tab` fills. `at_once`: when the page opens, not at its first visit."""
    name = title.lower()
    with gr.Tab(title, id=name, render_children=at_once):
        return view(
            "{}",
            html_template=MOUNT,
            elem_id=f"weft-{name}",
            elem_classes="weft-desk",
            **props,
            js_on_load="const at = element.querySelector('.weft-mount'); "
            f"window.weft.{name}Tab(at, {{props, trigger, watch}}); // its events: "
            + " ".join(f"'{event}'" for event in events.split()),
        )
