"""`plugin list|test|new|explain`: what is loaded or broken, checks, a template, a look inside."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

from studio.cli import shared
from studio.cli.laws import MAKERS, SAMPLES, laws, open_bench
from studio.errors import StudioError
from studio.graph.peek import Peek, peek
from studio.graph.registry import Registry
from studio.graph.spec import NodeSpec
from studio.settings import ROOT

TEMPLATE = '''"""{title}."""
from typing import Annotated

from studio.api import Image, Slider, node, to_array, to_image


@node(group="Finish")
def {name}(image: Image, amount: Annotated[float, Slider(0, 1)] = 0.5) -> Image:
    """Say in one sentence what it does to the picture.

    amount: 0 leaves the picture as it is
    """
    if amount == 0:
        return image
    pixels = to_array(image)  # height, width, channel; 0..1
    return to_image(pixels * (1 - amount) + pixels.mean() * amount)
'''


def add_to(commands: argparse._SubParsersAction[shared.Parser]) -> None:
    """Add the command and its actions."""
    parser = commands.add_parser("plugin", help="list, test, new, explain")
    actions = parser.add_subparsers(
        dest="action", metavar="ACTION", required=True, parser_class=shared.Parser
    )

    def action(name: str, act: Callable[[argparse.Namespace], int], text: str) -> shared.Parser:
        part = actions.add_parser(name, help=text)
        shared.add_json(part)
        shared.add_home(part)
        part.set_defaults(act=act)
        return part

    action("list", show_list, "plugins that are loaded, and those that are broken")
    action("test", test, "check a plugin and run its nodes on small inputs").add_argument(
        "file", metavar="FILE.py"
    )
    action("explain", explain, "what a file would add, import and need; nothing of it runs").add_argument(
        "file", metavar="FILE.py"
    )
    part = action("new", new, "write a template")
    part.add_argument("name", metavar="NAME")
    part.add_argument("--folder", metavar="DIR", help="where (default: the plugins folder)")


def show_list(args: argparse.Namespace) -> int:
    """Loaded plugins with their nodes and digest; broken ones with line and reason."""
    with shared.open_studio(args) as studio:
        loaded, broken = studio.registry.plugins, studio.registry.broken
    if args.json:
        shared.show(
            {
                "plugins": [
                    {
                        "name": p.name,
                        "file": p.file,
                        "digest": p.digest,
                        "nodes": list(p.nodes),
                        "needs": list(p.needs),
                    }
                    for p in loaded
                ],
                "broken": [b.to_json() for b in broken],
            }
        )
        return shared.FINISHED
    for plugin in loaded:
        print(f"{plugin.name:20} {', '.join(plugin.nodes)}")
    for item in broken:
        print(f"{item.file}:{item.line}: does not load: {item.message} {item.hint}".rstrip())
    return shared.FINISHED


def explain(args: argparse.Namespace) -> int:
    """Read a plugin's source without running it."""
    seen = peek(_file(args.file).read_bytes(), args.file)
    if args.json:
        shared.show(
            {
                "nodes": list(seen.nodes),
                "imports": list(seen.imports),
                "needs": list(seen.needs),
                "missing": list(seen.missing),
                "forbidden": [module for _, module in seen.forbidden],
                "error": seen.error[1] if seen.error else None,
            }
        )
        return shared.FAILED if seen.error else shared.FINISHED
    if seen.error:
        raise StudioError(f"{args.file}:{seen.error[0]}: {seen.error[1]}", hint="Mend the file first.")
    print(
        f"nodes:   {', '.join(seen.nodes) or 'none'}\nimports: {', '.join(seen.imports) or 'none'}\n"
        f"needs:   {', '.join(seen.needs) or 'nothing'}"
    )
    for line, module in seen.forbidden:
        print(f"line {line}: imports {module}, which plugins must not; use studio.api")
    return shared.FINISHED


def new(args: argparse.Namespace) -> int:
    """Write a template that works as it stands; an existing file is never overwritten."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{1,40}", args.name):
        raise shared.BadCall(
            f"'{args.name}' cannot be a plugin's name.",
            hint="Small letters, digits and _, for example soft_focus.",
        )
    folder = Path(args.folder) if args.folder else shared.settings_of(args).plugins_folder
    path = folder / f"{args.name}.py"
    if path.exists():
        raise shared.BadCall(f"There is a file '{path}' already.", hint="Choose another name.")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(
        TEMPLATE.format(name=args.name, title=args.name.replace("_", " ").capitalize()), encoding="utf-8"
    )
    if args.json:
        shared.show({"status": "finished", "file": str(path)})
    else:
        print(f"{path}\nTest it with: python -m studio plugin test {path}")
    return shared.FINISHED


def test(args: argparse.Namespace) -> int:
    """Static checks, then the laws of a node on small synthetic inputs; exit code 1 for a fault."""
    path = _file(args.file).absolute()
    seen = peek(path.read_bytes(), str(path))
    registry = Registry(plugins=path.parent, pinned=[path.stem])
    faults = [f"{b.file}:{b.line}: {b.message} {b.hint}".rstrip() for b in registry.broken]
    results = _held_to(list(registry.specs.values()))
    faults += [f"{kind}: {fault}" for kind, (found, _) in results.items() for fault in found]
    faults += _taken(set(results), path, shared.settings_of(args).plugins_folder)
    if not results and not faults:
        faults.append(_nothing(seen))
    skipped = [f"{kind}: {why}" for kind, (_, why) in results.items() if why]
    if args.json:
        shared.show(
            {
                "status": "failed" if faults else "finished",
                "nodes": list(results),
                "faults": faults,
                "not_run": skipped,
            }
        )
        return shared.FAILED if faults else shared.FINISHED
    for line in [*(f"not run: {text}" for text in skipped), *(f"fault: {text}" for text in faults)]:
        print(line)
    print(f"{len(results)} nodes, {len(faults)} faults")
    return shared.FAILED if faults else shared.FINISHED


def _taken(kinds: set[str], path: Path, plugins: Path) -> list[str]:
    """Ids that another file has already: that of a built-in node, or of a plugin. No file is run for it."""
    found = []
    for other in (*sorted((ROOT / "studio" / "nodes").glob("*.py")), *sorted(plugins.glob("*.py"))):
        if other.absolute() != path:
            for kind in sorted(kinds & set(peek(other.read_bytes()).nodes)):
                found.append(
                    f"{kind}: {other.parent.name}/{other.name} has a node of this id; give yours another: "
                    f"@node(id='my_{kind}'), or rename the function"
                )
    return found


def _held_to(specs: list[NodeSpec]) -> dict[str, tuple[list[str], str]]:
    """Faults, and why it was not run, by kind. Other nodes are loaded only where their values are needed."""
    needed = {socket.type for spec in specs for socket in spec.inputs if socket.required}
    if not needed & ({*MAKERS} - {*SAMPLES}):
        return {spec.kind: laws(spec) for spec in specs}
    with open_bench() as bench:
        return {spec.kind: laws(spec, bench) for spec in specs}


def _nothing(seen: Peek) -> str:
    return f"line {seen.error[0]}: {seen.error[1]}" if seen.error else "there is no node in it"


def _file(given: str) -> Path:
    path = Path(given)
    if not path.is_file():
        raise shared.BadCall(f"There is no file '{given}'.", hint="Give the path of a plugin's .py file.")
    return path
