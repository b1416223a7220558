"""`run WORKFLOW.json`: run a graph document, with single widgets changed by `--set`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.cli import shared
from studio.errors import StudioError, did_you_mean
from studio.graph.definitions import local
from studio.graph.document import Graph, Node, loads
from studio.graph.inline import inline
from studio.pixels import encode, read_picture

if TYPE_CHECKING:
    from studio.studio import Studio

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
WORDS = ("text", "prompt", "choice", "model", "colour")  # sorts of widgets that hold text as it stands


def add_to(commands: argparse._SubParsersAction[shared.Parser]) -> None:
    """Add the command."""
    parser = commands.add_parser("run", help="run a workflow")
    add_workflow(parser)
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="also write the pictures into this folder, by their names, with a number where one is taken",
    )
    parser.add_argument("--no-cache", action="store_true", help="make everything anew")
    shared.add_json(parser)
    shared.add_home(parser)
    parser.set_defaults(act=act)


def add_workflow(parser: argparse.ArgumentParser) -> None:
    """Add the workflow, `--set` and `--target`, which `run` and `plan` share."""
    parser.add_argument("workflow", metavar="WORKFLOW.json", help="a workflow, or a picture made by Weft")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NODE.SOCKET=VALUE",
        dest="settings",
        help="change a widget; a picture widget takes the path of a picture",
    )
    parser.add_argument(
        "--target",
        action="append",
        metavar="NODE",
        dest="targets",
        help="make only this node and what it needs (default: every output)",
    )


def act(args: argparse.Namespace) -> int:
    """Run it; pictures go to the history and, with `--out`, into a folder."""
    if args.out is not None and Path(args.out).exists() and not Path(args.out).is_dir():
        raise shared.BadCall(f"'{args.out}' is a file, not a folder.", hint="--out takes a folder.")
    read = read_file(args.workflow)
    with shared.open_studio(args) as studio:
        document = read_workflow(studio, read, args.workflow, args.settings, args.targets)
        return run_document(studio, document, args, targets=args.targets, folder=args.out)


def read_file(given: str) -> Graph | bytes:
    """The document of a file, or the bytes of a picture that may hold one; BadCall names the file. Needs no
    studio, so that a wrong name is said at once."""
    path = Path(given)
    if path.is_dir():
        raise shared.BadCall(f"'{given}' is a folder, not a workflow.", hint="Give a workflow file in it.")
    if not path.is_file():
        raise shared.BadCall(f"There is no workflow at '{given}'.", hint="Give the path of a workflow file.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise shared.BadCall(f"'{given}' cannot be read: {error.strerror}.") from None
    if data.startswith(b"\x89PNG"):
        return data
    try:
        return loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise shared.BadCall(
            f"'{given}' is no workflow: it is not UTF-8 text.",
            hint="Give a workflow file (JSON) or a PNG made by Weft.",
        ) from None
    except StudioError as error:
        raise shared.BadCall(
            f"'{given}': {error.message}", hint=error.hint, node=error.node, socket=error.socket
        ) from None


def read_workflow(
    studio: Studio,
    read: Graph | bytes,
    given: str,
    changes: Sequence[str] = (),
    targets: Sequence[str] | None = None,
) -> Graph:
    """What `read_file` gave as a document with the changes made; raises BadCall that names the file."""
    try:
        document = studio.open_picture(read) if isinstance(read, bytes) else read
    except StudioError as error:
        raise shared.BadCall(
            f"'{given}': {error.message}", hint=error.hint, node=error.node, socket=error.socket
        ) from None
    for change in changes:
        document = changed(studio, document, change)
    flat = inline(document, studio.registry)
    for target in targets or ():
        if target not in flat.graph.by_id and target not in flat.instances:
            known_node(document, target)
    return document


def known_node(document: Graph, name: str) -> Node:
    """The node of that id; BadCall with the nearest ones otherwise."""
    node = document.by_id.get(name)
    if node is None:
        hint = did_you_mean(name, document.by_id) or f"It has: {', '.join(list(document.by_id)[:20])}."
        raise shared.BadCall(f"The workflow has no node '{name}'.", node=name, hint=hint)
    return node


def changed(studio: Studio, document: Graph, change: str) -> Graph:
    """The document with one `NODE.SOCKET=VALUE` applied. The value's range is left to the check."""
    found = re.fullmatch(r"([^=]+)\.([^.=]+)=(.*)", change, re.DOTALL)
    if found is None:
        raise shared.BadCall(
            f"--set {change!r} is not NODE.SOCKET=VALUE.", hint="For example --set schedule.steps=8."
        )
    name, widget, text = found.groups()
    node = known_node(document, name)
    spec = local(document, studio.registry).find(node.kind)
    sorts = (
        {param.name: param.widget.sort for param in spec.params} if spec else dict.fromkeys(node.widgets, "")
    )
    if widget not in sorts:
        raise shared.BadCall(
            f"Node '{name}' has no widget '{widget}'.",
            node=name,
            socket=widget,
            hint=did_you_mean(widget, sorts) or f"It has: {', '.join(sorts) or 'none'}.",
        )
    for edge in document.edges:
        if edge.target == (name, widget):
            raise shared.BadCall(
                f"'{name}.{widget}' is fed by '{edge.source[0]}', so it cannot be set.",
                node=name,
                socket=widget,
                hint=f"Set a widget of '{edge.source[0]}' instead.",
            )
    return document.set(name, widget, _value(studio, sorts[widget], text))


def _value(studio: Studio, sort: str, text: str) -> Any:
    if sort in WORDS:
        return text
    if sort == "picture" and Path(text).is_file():
        data = Path(text).read_bytes()
        studio.policy.check_upload(len(data))
        read_picture(data, max_pixels=studio.policy.max_decoded_pixels)
        return {
            "file": studio.history.put_upload(data, suffix=Path(text).suffix.lower()),
            "name": Path(text).name,
        }
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    if sort == "picture" and not isinstance(value, dict):
        what = "a folder" if Path(text).is_dir() else "no picture there, and none stored"
        raise shared.BadCall(
            f"'{text[:200]}' cannot be taken as a picture: {what}.",
            hint="Give the path of a PNG, JPEG or WEBP.",
        )
    return value


def run_document(
    studio: Studio,
    document: Graph,
    args: argparse.Namespace,
    *,
    targets: Sequence[str] | None = None,
    folder: str | None = None,
    file: str | None = None,
) -> int:
    """Run, show progress, put pictures where they were asked for, report; the exit code."""
    interrupt = shared.Interrupt()
    with shared.progress_bar() as bar, interrupt.guard():
        report = studio.run(
            document,
            targets=targets,
            on_event=bar,
            use_cache=not getattr(args, "no_cache", False),
            should_stop=interrupt.is_set,
        )
    result = report.as_json()
    told = [problem for problem in report.problems if problem.level == "warning"]
    result["warnings"] = [f"{problem.message} {problem.hint}".rstrip() for problem in told] + list(
        result["warnings"]
    )
    try:
        _hand_out(report.outputs, result["outputs"], folder, file)
    except OSError as error:
        result |= {"status": "failed", "error": shared.error_json(shared.from_os_error(error))}
    if args.json:
        shared.show(result)
    else:
        _tell(result)
    fault = result["error"] or {"message": ""}
    for warning in result["warnings"]:
        if not fault["message"] or fault["message"] not in warning:  # the error says it anyway
            shared.say(f"Note: {warning}")
    if result["error"]:
        where = f"{fault['title'] or fault['node']}: " if fault["node"] else ""
        shared.say(f"Error: {where}{fault['message']} {fault['hint']}".rstrip())
    elif result["status"] == "cancelled":
        shared.say("Stopped.")
    return shared.FINISHED if result["status"] == "finished" else shared.FAILED


def _hand_out(
    outputs: Sequence[Any], shown: Sequence[dict[str, Any]], folder: str | None, file: str | None
) -> None:
    """Write the pictures to `file`, or by name into `folder`; their paths go into what is shown."""
    taken: set[str] = set()
    for index, (output, entry) in enumerate(zip(outputs, shown, strict=True)):
        if file is not None:
            path = Path(file)
            target = path if index == 0 else path.with_stem(f"{path.stem}-{index + 1}")
        elif folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
            target = _beside(output, Path(folder) / f"{_free(output.name, taken)}.png", taken)
        else:
            continue
        write_picture(output, target)
        entry["file"] = str(target)


def _free(name: str, taken: set[str]) -> str:
    """A file name that is safe on every system and not used twice in this run."""
    stem = re.sub(r"[^\w .()-]+", "_", name).strip(" .")[:80] or "picture"
    found, number = stem, 2
    while found.casefold() in taken:
        found, number = f"{stem}-{number}", number + 1
    taken.add(found.casefold())
    return found


def _beside(output: Any, target: Path, taken: set[str]) -> Path:
    """The file itself, or with the next free number where another picture lies there: nothing is written
    over. A picture that lies there already is not written twice."""
    stem, number = target.stem, 2
    while target.exists() and not (target.is_file() and _same(output, target)):
        target, number = target.with_name(f"{stem}-{number}.png"), number + 1
        taken.add(target.stem.casefold())
    return target


def _same(output: Any, target: Path) -> bool:
    """Whether a file holds this picture."""
    if output.path is not None:
        return output.path.read_bytes() == target.read_bytes()
    try:
        return bool(read_picture(target.read_bytes()) == output.image)
    except StudioError:
        return False


def write_picture(output: Any, target: Path) -> None:
    """Write one picture whole or not at all; a PNG keeps its workflow, other formats are encoded anew."""
    kind = FORMATS.get(target.suffix.lower(), "PNG")
    stored = output.path.read_bytes() if output.path is not None else None
    if kind == "PNG" and stored is not None:
        data = stored
    else:
        image = output.image if output.image is not None else read_picture(stored or b"")
        data = encode(image, kind)
    if target.is_file() and target.read_bytes() == data:
        return
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".weft-", suffix=".part")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from error  # a name that the person knows
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    """The process's umask; it can only be read by setting it."""
    now = os.umask(0o022)
    os.umask(now)
    return now


def _tell(result: Mapping[str, Any]) -> None:
    states: dict[str, int] = {}
    for node in result["nodes"].values():
        states[node["state"]] = states.get(node["state"], 0) + 1
    for output in result["outputs"]:
        size = f"{output['width']}x{output['height']}"
        print(f"{output['file'] or output['name']}  {size}  {output['generation']}")
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    shared.say(f"{result['status']} in {result['seconds']:.1f} s" + (f" ({counts})" if counts else ""))
