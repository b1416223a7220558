"""What a node may ask for while it runs (architecture 6.3). What is not here, a node may not do."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from studio.errors import Cancelled, StudioError
from studio.graph.kept import Kept

if TYPE_CHECKING:
    import numpy as np

    from studio.policy import Policy
    from studio.values import Image, Model


@dataclass(frozen=True)
class Device:
    """Where and in which precision numbers are computed; part of every ahead key."""

    kind: str = "cpu"
    dtype: str = "float32"

    def __str__(self) -> str:
        return self.kind


class ModelLoader(Protocol):
    """The studio's loader of models, handed to nodes as `ctx.models`."""

    @property
    def device(self) -> str:
        """Where models lie: "cpu", "cuda", "cuda:1" or "mps"."""
        ...

    def load(self, ref: str) -> Model:
        """The model of a reference such as `embedded:scenes-sd3`; BadModel or Refused otherwise."""
        ...

    def digest(self, ref: str) -> str:
        """The hash of a model's weights, without loading them."""
        ...

    def lora(self, model: Model, ref: str, strength: float) -> Model:
        """A model with a LoRA laid over it; BadModel or Refused where that cannot be."""
        ...

    def calibration(self, model: Model, kind: str, key: str) -> Mapping[str, object] | None:
        """What was measured about a model's weights, if anything."""
        ...

    def keep_calibration(self, model: Model, kind: str, key: str, value: Mapping[str, object]) -> bool:
        """Keep what was measured about a model's weights; False where this host keeps nothing of a run."""
        ...


class Reporter(Protocol):
    """Where a context sends what its node reports; the engine has the real one."""

    def step(self, i: int, total: int, preview: Callable[[], Image] | None) -> None: ...
    def log(self, text: str) -> None: ...
    def note(self, key: str, value: object) -> None: ...
    def warn(self, text: str) -> None: ...


class CancelToken:
    """A stop sign for one run; set from any thread, never taken back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set = False
        self._listeners: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        """Whether the run was asked to stop."""
        return self._set

    def cancel(self) -> None:
        """Ask the run to stop; a second call does nothing."""
        with self._lock:
            if self._set:
                return
            self._set = True
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    def on_cancel(self, listener: Callable[[], None]) -> None:
        """Call `listener` once when stopped; at once if that has happened already."""
        with self._lock:
            if not self._set:
                self._listeners.append(listener)
                return
        listener()

    def __repr__(self) -> str:
        return f"CancelToken(cancelled={self._set})"


def seed_of(*parts: object) -> int:
    """A 53-bit seed from run seed, path and item: SHA-256, so independent of process and order (E28)."""
    text = "\x1f".join(f"{type(p).__name__}:{p}" for p in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 11


class Context:
    """The studio as one node sees it. `Context()` alone works in a test or a notebook.

    `kept`: values that last beyond the run. `code`: the digest of the node's code. `numerics`: "fast", or
    "strict": what is made must not depend on what is made beside it.
    """

    def __init__(
        self,
        *,
        models: ModelLoader | None = None,
        policy: Policy | None = None,
        device: Device = Device(),
        # randomness: run seed, the node's stable path, and how to make a torch generator
        seed: int = 0,
        path: str = "",
        item: int | None = None,
        may_draw: bool = True,
        generator: Callable[[int], Any] | None = None,
        open_file: Callable[[str], bytes] | None = None,
        # what lasts beyond the run, the node's code, and how numbers are computed
        kept: Kept | None = None,
        code: str = "",
        numerics: str = "fast",
        # reporting and stopping
        reporter: Reporter | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        self._models = models
        self._policy = policy
        self.device = device
        self.item = item
        self._seed, self._path, self._may_draw = seed, path, may_draw
        self._make_generator = generator
        self._open_file = open_file
        self.kept = kept or Kept()
        self.code = code
        self.numerics = numerics
        self._reporter = reporter
        self._cancel = cancel or CancelToken()
        self._rng: np.random.Generator | None = None
        self._temp: Path | None = None
        self._closed = ""

    def __repr__(self) -> str:
        return f"Context(path={self._path!r}, item={self.item}, device={self.device})"

    def check(self) -> None:
        """Raise Cancelled if the run was stopped, or StudioError if this node's time is over."""
        if self._cancel.cancelled:
            raise Cancelled()
        if self._closed:
            raise StudioError(self._closed)

    def step(self, i: int, total: int, preview: Callable[[], Image] | None = None) -> None:
        """`i` of `total` steps are done: progress, perhaps a preview, and the cancel check, in one call.

        `preview` makes a small picture (<= 192 px); it is called only when the limits allow (E31).
        """
        self.check()
        if self._reporter is not None:
            self._reporter.step(i, total, preview)

    @property
    def rng(self) -> np.random.Generator:
        """This node's own numpy generator; the node must declare random=True."""
        if self._rng is None:
            import numpy as np

            self._rng = np.random.default_rng(self._own_seed("numpy"))
        return self._rng

    def generator(self, k: int = 0) -> Any:
        """This node's own torch CPU generator number `k`; the node must declare random=True."""
        seed = self._own_seed("torch", k)
        if self._make_generator is None:
            raise StudioError(
                "No torch generator here.", hint="The studio hands one in; use ctx.rng in a plain test."
            )
        return self._make_generator(seed)

    def _own_seed(self, *purpose: object) -> int:
        if not self._may_draw:
            raise StudioError(
                "This node draws random numbers without having said so.",
                hint="Write @node(random=True), or take a `seed: Seed` parameter.",
            )
        return seed_of(self._seed, self._path, self.item, *purpose)

    @property
    def models(self) -> ModelLoader:
        """The studio's model loader."""
        if self._models is None:
            raise StudioError(
                "This context has no models.", hint="Run the node in the studio, or give Context(models=...)."
            )
        return self._models

    @property
    def policy(self) -> Policy:
        """What this host allows."""
        if self._policy is None:
            from studio.policy import Policy

            self._policy = Policy.local()
        return self._policy

    def open_file(self, sha256: str) -> bytes:
        """The bytes of a stored file, by its SHA-256, such as an uploaded picture."""
        if self._open_file is None:
            raise StudioError("This context has no stored files.", hint="Give Context(open_file=...).")
        return self._open_file(sha256)

    def temp(self) -> Path:
        """A private folder, removed after the node."""
        if self._temp is None:
            self._temp = Path(tempfile.mkdtemp(prefix="weft-node-"))
        return self._temp

    def log(self, text: str) -> None:
        """A line in the run's log."""
        if self._reporter is not None:
            self._reporter.log(str(text))

    def note(self, key: str, value: object) -> None:
        """A JSON-able fact for the record, such as the sites a control acted on; the key "warning" warns."""
        if self._reporter is not None:
            self._reporter.note(key, value)

    def warn(self, text: str) -> None:
        """Something the user should know; the run goes on."""
        if self._reporter is not None:
            self._reporter.warn(str(text))

    def expire(self, message: str) -> None:
        """For the engine: the next `check` or `step` of this node raises `message`."""
        self._closed = message

    def close(self) -> None:
        """For the engine: remove the private folder."""
        if self._temp is not None:
            shutil.rmtree(self._temp, ignore_errors=True)
            self._temp = None
