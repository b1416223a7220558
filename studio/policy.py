"""Policy: what this host allows. Chosen once at the start, asked on the server at each use; default deny.

The numbers are those of the design's security document, section 4. A page may hide what is forbidden, but
only these checks protect. Every check raises `Refused`, which names the limit and the value given.
"""
from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields

from studio.errors import Refused
from studio.settings import Settings

EMBEDDED = re.compile(r"embedded:[a-z0-9][a-z0-9._-]{0,63}")
HUB = re.compile(r"hub:[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
TINY = re.compile(r"tiny:[a-z0-9_]{1,32}")
NAME = re.compile(r"[a-z0-9_-]{0,64}")  # of something built in; no file that is opened is called so


@dataclass(frozen=True)
class Policy:
    """Rights (bool, False = refused), allow-lists (empty = nothing) and limits (largest value allowed).

    There are no defaults: `local()` and `public()` name every field, so that a new one cannot be forgotten.
    `None` as a limit of stored things means no limit.
    """

    name: str
    # rights
    allow_plugins: bool
    allow_paths: bool
    allow_hub: bool
    allow_urls: bool
    share_cache: bool
    embed_graph: bool
    show_traces: bool
    # allow-lists: used where the right itself is missing
    hub_ids: frozenset[str]
    plugin_digests: frozenset[str]
    # one run
    max_pixels: int
    max_enlarged: int
    max_steps: int
    max_batch: int
    max_prompt: int
    # one document
    max_nodes: int
    max_edges: int
    max_json_bytes: int
    max_json_depth: int
    # one sweep
    max_cells: int
    # one upload
    max_upload_bytes: int
    max_decoded_pixels: int
    max_frames: int
    # the queue: runs
    max_running: int
    max_waiting: int
    max_queue: int
    # stored for one owner
    max_stored_bytes: int | None
    max_stored_rows: int | None
    lifetime_hours: int | None

    @classmethod
    def local(cls) -> Policy:
        """The user's own computer: generous, but still bounded."""
        return cls(
            name="local",
            allow_plugins=True, allow_paths=True, allow_hub=True, allow_urls=True,
            share_cache=True, embed_graph=True, show_traces=True,
            hub_ids=frozenset(), plugin_digests=frozenset(),
            max_pixels=16_777_216, max_enlarged=40_000_000, max_steps=1000, max_batch=64, max_prompt=20_000,
            max_nodes=10_000, max_edges=40_000, max_json_bytes=50_000_000, max_json_depth=64,
            max_cells=1000,
            max_upload_bytes=200_000_000, max_decoded_pixels=64_000_000, max_frames=1,
            max_running=1, max_waiting=100, max_queue=1000,
            max_stored_bytes=None, max_stored_rows=None, lifetime_hours=None,
        )

    @classmethod
    def public(cls) -> Policy:
        """A host that strangers reach: a Space, a tunnel, a bind address beyond loopback."""
        return cls(
            name="public",
            allow_plugins=False, allow_paths=False, allow_hub=False, allow_urls=False,
            share_cache=False, embed_graph=False, show_traces=False,
            hub_ids=frozenset(), plugin_digests=frozenset(),
            max_pixels=1_050_000, max_enlarged=1_050_000, max_steps=50, max_batch=4, max_prompt=2_000,
            max_nodes=64, max_edges=256, max_json_bytes=1_000_000, max_json_depth=32,
            max_cells=9,
            max_upload_bytes=20_000_000, max_decoded_pixels=16_800_000, max_frames=1,
            max_running=1, max_waiting=2, max_queue=20,
            max_stored_bytes=200_000_000, max_stored_rows=500, lifetime_hours=24,
        )

    @classmethod
    def of(cls, settings: Settings) -> Policy:
        """Public on a Space, with `--public` or when bound beyond loopback; else local.

        The environment is asked once more, so that settings built by hand cannot switch it off on a Space.
        """
        space = bool(os.environ.get("SPACE_ID")) or os.environ.get("SYSTEM") == "spaces"
        return cls.public() if settings.public or settings.space or space else cls.local()

    @property
    def is_public(self) -> bool:
        return self.name != "local"

    # one run

    def check_pixels(
        self, width: int, height: int, batch: int = 1, *, node: str = "", socket: str = "",
    ) -> None:
        """Width, height: pixels; batch: pictures made together. The pixels of all of them count."""
        pixels = width * height * batch
        if batch > self.max_batch:
            raise self._refused("pictures at once", batch, self.max_batch, node, socket)
        if pixels > self.max_pixels:
            what = f"pixels in a run ({width} × {height} × {batch})"
            raise self._refused(what, pixels, self.max_pixels, node, socket)

    def check_enlarged(self, width: int, height: int, *, socket: str = "") -> None:
        """Width, height: pixels of a picture that an upscaler makes, which works by tiles and so has room for
        more than a run of a model."""
        if width * height > self.max_enlarged:
            raise Refused(
                f"That would be {width} × {height} = {width * height / 1e6:.1f} million pixels; at most "
                f"{self.max_enlarged / 1e6:.1f} million are possible.",
                hint="Choose a smaller factor, or begin with a smaller picture.", socket=socket,
            )

    def check_steps(self, steps: int, *, node: str = "", socket: str = "") -> None:
        if steps > self.max_steps:
            raise self._refused("steps", steps, self.max_steps, node, socket)

    def check_prompt(self, text: str, *, node: str = "", socket: str = "") -> None:
        if len(text) > self.max_prompt:
            raise self._refused("characters in a text", len(text), self.max_prompt, node, socket)

    # documents and uploads

    def check_json(self, nbytes: int, depth: int = 0) -> None:
        """Size and nesting of a workflow text; asked before and while it is parsed."""
        if nbytes > self.max_json_bytes:
            raise self._refused("bytes in a workflow", nbytes, self.max_json_bytes)
        if depth > self.max_json_depth:
            raise self._refused("levels of nesting in a workflow", depth, self.max_json_depth)

    def check_document(self, nodes: int, edges: int) -> None:
        if nodes > self.max_nodes:
            raise self._refused("nodes in a graph", nodes, self.max_nodes)
        if edges > self.max_edges:
            raise self._refused("edges in a graph", edges, self.max_edges)

    def check_cells(self, cells: int) -> None:
        """`cells`: pictures in one sweep."""
        if cells > self.max_cells:
            raise self._refused("pictures in a comparison", cells, self.max_cells)

    def check_upload(self, nbytes: int) -> None:
        if nbytes > self.max_upload_bytes:
            raise self._refused("bytes in an upload", nbytes, self.max_upload_bytes)

    def check_picture(self, width: int, height: int, frames: int = 1) -> None:
        """A picture from outside, by its header, before it is decoded."""
        pixels = width * height
        if pixels > self.max_decoded_pixels:
            raise self._refused(f"pixels in a picture ({width} × {height})", pixels, self.max_decoded_pixels)
        if frames > self.max_frames:
            raise self._refused("frames in a picture", frames, self.max_frames)

    # models, plugins, network

    def check_model_ref(self, ref: str, *, node: str = "", socket: str = "") -> None:
        """Embedded models always; `hub:owner/name` by right or allow-list; folders and `tiny:` by right."""
        if EMBEDDED.fullmatch(ref):
            return
        if ref.startswith("hub:"):
            if not HUB.fullmatch(ref):
                raise Refused(f"{ref[:120]!r} is no model of the Hub.", hint="Write hub:owner/name.",
                              node=node, socket=socket)
            if self.allow_hub or ref in self.hub_ids:
                return
            raise Refused(f"This host does not load {ref!r}.", hint=self._models_hint(),
                          node=node, socket=socket)
        if self.allow_paths:  # a folder, or a tiny test model: both only where paths are allowed
            return
        what = "test models" if TINY.fullmatch(ref) else "models from folders"
        raise Refused(f"This host does not load {what}.", hint=self._models_hint(), node=node, socket=socket)

    def check_reference(self, leads: str, value: str) -> None:
        """What a setting of a graph leads to (`Widget.leads`), before anybody looks whether it is there:
        else the answer would tell what lies on this computer."""
        if leads == "model":
            self.check_model_ref(value)
        elif leads == "file" and not (EMBEDDED.fullmatch(value) or NAME.fullmatch(value)):
            self.check_path()

    def check_path(self, *, node: str = "", socket: str = "") -> None:
        """Asked before a path given by a user is opened."""
        if not self.allow_paths:
            raise Refused("This host opens no files by path.", hint="Upload the picture.",
                          node=node, socket=socket)

    def check_url(self) -> None:
        if not self.allow_urls:
            raise Refused("This host fetches nothing from the network.", hint="Upload the file.")

    def check_plugin(self, name: str, digest: str) -> None:
        """`digest`: SHA-256 of the plugin file in hex."""
        if not self.allow_plugins and digest not in self.plugin_digests:
            raise Refused(f"This host does not run the plugin {name!r}.",
                          hint="Only built-in nodes run here.")

    def check_trace(self) -> None:
        """Asked before a traceback, a path or device details are shown."""
        if not self.show_traces:
            raise Refused("This host shows no traces.")

    # queue and store

    def check_queue(self, *, waiting: int, queued: int) -> None:
        """`waiting`: runs of this owner that wait already; `queued`: runs of everybody."""
        if waiting >= self.max_waiting:
            raise self._refused("waiting runs of one visitor", waiting + 1, self.max_waiting)
        if queued >= self.max_queue:
            raise Refused(f"The queue is full: {queued} runs wait already.", hint="Try again in a moment.")

    def check_stored(self, *, nbytes: int, rows: int) -> None:
        """What one owner would have stored after the next picture: bytes and generations."""
        if self.max_stored_bytes is not None and nbytes > self.max_stored_bytes:
            raise self._refused("stored bytes of one visitor", nbytes, self.max_stored_bytes)
        if self.max_stored_rows is not None and rows > self.max_stored_rows:
            raise self._refused("stored pictures of one visitor", rows, self.max_stored_rows)

    def limits(self) -> dict[str, int]:
        """The numeric limits by name, for help texts and pages; those without a limit are left out."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if type(value) is int}

    def _refused(self, what: str, given: int, limit: int, node: str = "", socket: str = "") -> Refused:
        return Refused(f"Too many {what}: {given:,}; this host allows {limit:,}.",
                       hint=f"Choose {limit:,} or less.", node=node, socket=socket)

    def _models_hint(self) -> str:
        allowed = ", ".join(sorted(self.hub_ids))
        return f"Possible are the embedded models{' and ' + allowed if allowed else ''}."
