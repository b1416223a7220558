"""The look in Python: gradio's variables pointed at those of assets/theme.css; the signs of socket types."""

from __future__ import annotations

import gradio as gr

# Type = colour AND shape AND text: never colour alone (ui.md 7.4). Read by every view that draws sockets.
SOCKETS: dict[str, tuple[str, str]] = {
    "Model": ("#8a5cc4", "square"),
    "Conditioning": ("#c9822b", "circle"),
    "Latent": ("#c2557f", "diamond"),
    "Image": ("#3f7fc1", "circle"),
    "Mask": ("#4f8f5b", "circle"),
    "Sigmas": ("#8d8d2f", "diamond"),
    "Sampler": ("#2f9292", "square"),
    "Guidance": ("#b5431d", "square"),
    "Attachment": ("#6f6f6f", "diamond"),
}
OTHER_SOCKET = ("#7a7a7a", "circle")


def socket_sign(type_name: str) -> tuple[str, str]:
    """Colour (#rrggbb) and shape (circle, square, diamond) of a socket type."""
    return SOCKETS.get(type_name, OTHER_SOCKET)


def gradio_theme() -> gr.themes.Base:
    """gradio's frame, toasts and focus rings in our colours. Fonts are named, never fetched."""
    theme = gr.themes.Base(
        font=["Instrument Sans", "ui-sans-serif", "system-ui", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Consolas", "monospace"],
    )
    same = {
        "body_background_fill": "var(--w-bg)",
        "body_text_color": "var(--w-ink)",
        "body_text_color_subdued": "var(--w-soft)",
        "background_fill_primary": "var(--w-panel)",
        "background_fill_secondary": "var(--w-bg)",
        "block_background_fill": "var(--w-panel)",
        "border_color_primary": "var(--w-line)",
        "border_color_accent": "var(--w-accent)",
        "color_accent_soft": "var(--w-accent-tint)",
        "link_text_color": "var(--w-accent)",
        "button_primary_background_fill": "var(--w-accent)",
        "button_primary_text_color": "var(--w-on-accent)",
        "input_background_fill": "var(--w-raised)",
    }
    dark = {name + "_dark": value for name, value in same.items()}
    return theme.set(color_accent="var(--w-accent)", **same, **dark)
