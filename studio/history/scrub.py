"""What a picture must not carry to others: owner, session, token, absolute paths (architecture 7.5)."""
from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath

PRIVATE = frozenset({"owner", "session", "session_hash", "token"})


def scrub(value: object) -> object:
    """A copy of a JSON value without private keys and with paths of this machine cut to their last part."""
    if isinstance(value, Mapping):
        return {key: scrub(inner) for key, inner in value.items() if key not in PRIVATE}
    if isinstance(value, (list, tuple)):
        return [scrub(inner) for inner in value]
    return _without_folder(value) if isinstance(value, str) else value


def scrub_graph(text: str) -> str:
    """The graph with paths of this machine cut to their last part; the very same text if there is none."""
    if "/" not in text and "\\" not in text:
        return text
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return text
    clean = _paths_cut(data)
    return text if clean == data else json.dumps(clean, ensure_ascii=False)


def _paths_cut(value: object) -> object:
    if isinstance(value, dict):
        return {key: _paths_cut(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_paths_cut(inner) for inner in value]
    return _without_folder(value) if isinstance(value, str) else value


def _without_folder(text: str) -> str:
    """The last part of an absolute path; any other text as it is.

    A prompt may begin with a slash, so on this system a path is what exists here, or whose folder does.
    """
    if not 1 < len(text) < 4096 or "\0" in text or "\n" in text:
        return text
    path = Path(text)
    if not path.is_absolute():
        foreign = PureWindowsPath(text)
        return foreign.name if foreign.is_absolute() and foreign.name else text
    try:
        here = path.exists() or (path.parent != path.parent.parent and path.parent.exists())
    except OSError:
        return text
    return path.name or text if here else text
