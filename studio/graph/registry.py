"""Finding nodes (6.5): built-in modules by name, installed packages, `plugins/`; broken ones are listed, not
fatal.

The engine knows no catalogue: which modules hold the built-in nodes is told by whoever makes the registry.
Nothing is read from the environment here.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from studio.errors import StudioError, did_you_mean
from studio.graph.loading import function_digest, import_file, import_within, specs_of, with_code
from studio.graph.peek import Peek, code_digest, forget, line_of, peek
from studio.graph.spec import NodeSpec
from studio.graph.types import ANY

ENTRY_POINTS = "studio.plugins"


@dataclass(frozen=True)
class Broken:
    """A file or package that does not load: where, why, and what to do."""

    file: str
    line: int
    message: str
    hint: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"file": self.file, "line": self.line, "message": self.message, "hint": self.hint}


@dataclass(frozen=True)
class PluginFile:
    """A plugin that is loaded: its name, file, SHA-256, the kinds it brings, and what it needs."""

    name: str
    file: str
    digest: str
    nodes: tuple[str, ...]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Changes:
    """What a refresh did, as kinds; `broken` as file names."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed or self.broken)


@dataclass
class _Source:
    """One origin of nodes. `specs` is the last version that loaded."""

    origin: str
    file: str
    digest: str
    specs: tuple[NodeSpec, ...]
    needs: tuple[str, ...] = ()
    broken: Broken | None = None
    module: str = ""
    built_in: bool = False
    shipped: bool = False

    @property
    def rank(self) -> int:
        """Whose node an id stays where several claim it: a built-in one's, else that of a shipped plugin."""
        return 2 if self.built_in else 1 if self.shipped else 0


class Registry:
    """All kinds of nodes there are. `modules`: built-in modules; `plugins`: the folder; `pinned`: only these
    plugin names are loaded; `allowed`: only files with these SHA-256 (public hosts); `shipped`: file names
    of the plugins that came with the studio, which keep their ids; `import_seconds`: time an import may take.
    """

    def __init__(
        self,
        modules: Sequence[str] = (),
        *,
        plugins: Path | None = None,
        entry_points: bool = False,
        pinned: Collection[str] | None = None,
        allowed: Collection[str] | None = None,
        shipped: Collection[str] = (),
        import_seconds: float = 20.0,
    ) -> None:
        self._folder = Path(plugins).absolute() if plugins is not None else None
        self._pinned, self._allowed, self._import_seconds = pinned, allowed, import_seconds
        self._shipped = frozenset(shipped)
        self._lock = threading.RLock()
        self._fixed: list[_Source] = [_built_in(name) for name in modules]
        if entry_points:
            self._fixed += [
                self._package(point)
                for point in importlib.metadata.entry_points(group=ENTRY_POINTS)
                if pinned is None or point.name in pinned
            ]
        self._files: dict[Path, _Source] = {}
        self._specs: Mapping[str, NodeSpec] = MappingProxyType({})
        self._replaced: Mapping[str, str] = {}
        self._broken: tuple[Broken, ...] = ()
        self.refresh()

    @classmethod
    def of(cls, *functions: Callable[..., Any]) -> Registry:
        """A registry of these @node functions; for tests and notebooks."""
        registry = cls()
        specs = tuple(with_code(f.spec, "", function_digest(f)) for f in functions)  # type: ignore[attr-defined]
        registry._fixed.append(_Source("test", "", "", specs))
        registry._merge()
        return registry

    def __repr__(self) -> str:
        return f"Registry({len(self._specs)} kinds, {len(self._broken)} broken)"

    @property
    def specs(self) -> Mapping[str, NodeSpec]:
        """All specs by kind, as they are now; a later refresh makes a new mapping."""
        return self._specs

    @property
    def broken(self) -> tuple[Broken, ...]:
        """What did not load."""
        return self._broken

    @property
    def plugins(self) -> tuple[PluginFile, ...]:
        """The plugins that are loaded."""
        with self._lock:
            found = []
            for s in (*self._fixed, *self._files.values()):
                kinds = tuple(x.kind for x in s.specs if self._specs.get(x.kind) is x)  # less those refused
                if kinds and not s.built_in and s.origin != "test":
                    found.append(PluginFile(Path(s.file).stem, s.file, s.digest, kinds, s.needs))
            return tuple(found)

    def find(self, kind: str) -> NodeSpec | None:
        """The spec of a kind, also by an id that it replaces; None if there is none."""
        found = self._specs.get(kind)
        return found if found is not None else self._specs.get(self._replaced.get(kind, ""))

    def known(self) -> Iterable[str]:
        """All kinds."""
        return self._specs.keys()

    def get(self, kind: str) -> NodeSpec:
        """The spec of a kind; StudioError with the nearest ones otherwise."""
        found = self.find(kind)
        if found is None:
            raise StudioError(
                f"No node called {kind!r}.",
                hint=did_you_mean(kind, self._specs) or "Is its plugin installed?",
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """Types, categories and nodes for a page (ui.md 5.3); colours and shapes are the page's own."""
        specs = sorted(self._specs.values(), key=lambda s: (s.group, s.title))
        types = sorted({s.type for spec in specs for s in (*spec.inputs, *spec.outputs)} | {ANY})
        return {
            "types": {t: {} for t in types},
            "categories": {g: {} for g in dict.fromkeys(s.group for s in specs)},
            "nodes": {s.kind: s.to_json() for s in specs},
        }

    def refresh(self) -> Changes:
        """Look into `plugins/` again and load what is new or changed, by content hash. A file that does not
        load leaves its old version in place; runs under way keep the functions they have."""
        with self._lock:
            before, broken_before = self._specs, {b.file for b in self._broken}
            found = dict(self._plugin_files())
            for path in [p for p in self._files if p not in found]:
                forget(self._files.pop(path).module)
            for path, data in found.items():
                digest = hashlib.sha256(data).hexdigest()
                old = self._files.get(path)
                if old is None or old.digest != digest:
                    self._files[path] = source = self._load_file(path, data, digest, old)
                    source.shipped = source.file in self._shipped
            self._merge()
            now = self._specs
            return Changes(
                tuple(k for k in now if k not in before),
                tuple(k for k in now if k in before and before[k].digest != now[k].digest),
                tuple(k for k in before if k not in now),
                tuple(b.file for b in self._broken if b.file not in broken_before),
            )

    # sources

    def _plugin_files(self) -> Iterable[tuple[Path, bytes]]:
        """Plugin files and packages with their bytes; of a package all its Python files."""
        if self._folder is None or not self._folder.is_dir():
            return
        for path in sorted(self._folder.iterdir()):
            package = path / "__init__.py"
            name = path.stem
            if name.startswith((".", "_")) or (self._pinned is not None and name not in self._pinned):
                continue
            try:
                if path.is_file() and path.suffix == ".py":
                    yield path, path.read_bytes()
                elif package.is_file():
                    parts = sorted(p for p in path.rglob("*.py"))
                    yield (
                        package,
                        b"\0".join([package.read_bytes(), *(p.read_bytes() for p in parts if p != package)]),
                    )
            except OSError:
                continue  # removed while we look

    def _load_file(self, path: Path, data: bytes, digest: str, old: _Source | None) -> _Source:
        """Load one plugin; when it fails, the old version with the trouble noted."""
        shown = self._shown(path)
        specs = old.specs if old is not None else ()
        kept = _Source(
            f"plugins/{shown}",
            shown,
            digest,
            specs,
            old.needs if old else (),
            module=old.module if old else "",
        )

        def broken(line: int, message: str, hint: str = "") -> _Source:
            kept.broken = Broken(
                shown, line, message, f"{hint} The version loaded before stays.".strip() if specs else hint
            )
            return kept

        if self._allowed is not None and digest not in self._allowed:
            return broken(
                0, "This host does not run this plugin.", "Only plugins listed by their digest run here."
            )
        seen = peek(path.read_bytes(), str(path))
        refused = _refusal(seen)
        if refused is not None:
            return broken(*refused)
        name = f"weft_plugins.{path.parent.name if path.name == '__init__.py' else path.stem}_{digest[:12]}"
        outcome = import_within(lambda: import_file(name, path), self._import_seconds)
        if isinstance(outcome, BaseException):
            forget(name)
            if isinstance(outcome, TimeoutError):
                return broken(0, str(outcome), "Move slow work from the top of the file into the node.")
            said = (
                outcome.message
                if isinstance(outcome, StudioError)
                else f"{type(outcome).__name__}: {outcome}"
            )
            hint = outcome.hint if isinstance(outcome, StudioError) else ""
            if isinstance(outcome, ModuleNotFoundError) and outcome.name:
                hint = f"It needs a package: pip install {outcome.name.partition('.')[0]}"
            return broken(line_of(outcome, path), _sentence(said) if hint else said, hint)
        found = tuple(with_code(s, f"plugins/{shown}", code_digest(path) + digest) for s in specs_of(outcome))
        if not found:
            forget(name)
            return broken(0, "There is no node in it.", "Put @node above a function.")
        twice = {s.kind for s in found if sum(x.kind == s.kind for x in found) > 1}
        if twice:
            return broken(0, f"It defines {', '.join(sorted(twice))} twice.", "Give one of them another id.")
        if old is not None and old.module:
            forget(old.module)
        return _Source(f"plugins/{shown}", shown, digest, found, seen.needs, module=name)

    def _shown(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix() if self._folder is not None else path.name

    def _package(self, point: importlib.metadata.EntryPoint) -> _Source:
        """Nodes of an installed package."""
        origin = f"package {point.dist.name if point.dist else point.value}"
        outcome = import_within(lambda: point.load(), self._import_seconds)
        if isinstance(outcome, BaseException):
            return _Source(
                origin, origin, "", (), broken=Broken(origin, 0, f"{type(outcome).__name__}: {outcome}")
            )
        file = Path(getattr(outcome, "__file__", None) or "")
        data = file.read_bytes() if file.is_file() else b""
        digest = hashlib.sha256(data).hexdigest()
        if self._allowed is not None and digest not in self._allowed:
            return _Source(
                origin, origin, digest, (), broken=Broken(origin, 0, "This host does not run this plugin.")
            )
        specs = tuple(with_code(s, origin, digest) for s in specs_of(outcome))
        return _Source(origin, origin, digest, specs)

    # putting together

    def _merge(self) -> None:
        """One table of all sources. Plugins that claim one kind are all refused it; a built-in keeps its
        kind, and a shipped plugin against others."""
        with self._lock:
            sources = [*self._fixed, *self._files.values()]
            claims: dict[str, list[_Source]] = {}
            for source in sources:
                for spec in source.specs:
                    claims.setdefault(spec.kind, []).append(source)
            broken = [s.broken for s in sources if s.broken is not None]
            refused: set[tuple[str, int]] = set()
            for kind, owners in claims.items():
                if len(owners) < 2:
                    continue
                names = " and ".join(o.file or o.origin for o in owners)
                first = [o for o in owners if o.rank == max(x.rank for x in owners)]
                keeper = first[0] if len(first) == 1 and first[0].rank else None
                kept = f" {keeper.file or keeper.origin} came with Weft and keeps it." if keeper else ""
                for owner in owners:
                    if owner is keeper:
                        continue
                    refused.add((kind, id(owner)))
                    line = next(s.function.__code__.co_firstlineno for s in owner.specs if s.kind == kind)
                    broken.append(
                        Broken(
                            owner.file or owner.origin,
                            line,
                            f"The node id {kind!r} is claimed by {names}.{kept}",
                            f"Give {'yours' if keeper else 'one of them'} another id: @node(id='...').",
                        )
                    )
            specs = {
                s.kind: s for source in sources for s in source.specs if (s.kind, id(source)) not in refused
            }
            self._specs = MappingProxyType(specs)
            self._replaced = {
                s.replaces: s.kind for s in specs.values() if s.replaces and s.replaces not in specs
            }
            self._broken = tuple(broken)


def _sentence(text: str) -> str:
    """With a mark at its end: a hint follows."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _refusal(seen: Peek) -> tuple[int, str, str] | None:
    """Why a file is not even run, as (line, message, hint)."""
    if seen.error is not None:
        return seen.error[0], _sentence(seen.error[1]), "Correct the line and save."
    if seen.forbidden:
        line, module = seen.forbidden[0]
        return (
            line,
            f"It imports {module!r}, which plugins must not.",
            "Everything a node needs stands in studio.api.",
        )
    if seen.missing:
        needs = " ".join(f'"{n}"' if any(c in n for c in "<>=! ") else n for n in seen.missing)
        return 0, f"It needs {', '.join(seen.missing)}.", f"pip install {needs}"
    return None


def _built_in(name: str) -> _Source:
    """The nodes of a built-in module. A mistake there is ours and stops the start."""
    module = importlib.import_module(name)
    file = Path(module.__file__ or "")
    digest = code_digest(file)
    specs = tuple(with_code(s, "built-in", digest) for s in specs_of(module))
    return _Source("built-in", f"studio/{file.parent.name}/{file.name}", digest, specs, built_in=True)
