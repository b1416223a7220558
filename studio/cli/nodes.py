"""`nodes`: every kind of node there is, with its sockets and widgets."""

from __future__ import annotations

import argparse

from studio.cli import shared
from studio.cli.nodes_page import markdown
from studio.errors import did_you_mean


def add_to(commands: argparse._SubParsersAction[shared.Parser]) -> None:
    """Add the command."""
    parser = commands.add_parser("nodes", help="every kind of node")
    parser.add_argument("kind", nargs="?", metavar="KIND", help="only this one, with its help")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="print one JSON object")
    forms.add_argument("--markdown", action="store_true", help="print the page docs/nodes.md")
    shared.add_home(parser)
    parser.set_defaults(act=act)


def act(args: argparse.Namespace) -> int:
    """List the nodes, or one of them."""
    with shared.open_studio(args) as studio:
        registry = studio.registry
    if args.kind and registry.find(args.kind) is None:
        hint = did_you_mean(args.kind, registry.known()) or "See `python -m studio nodes`."
        raise shared.BadCall(f"No node called '{args.kind}'.", hint=hint)
    if args.json:
        shared.show(registry.get(args.kind).to_json() if args.kind else registry.to_json())
    elif args.markdown:
        print(markdown(registry), end="")
    elif args.kind:
        spec = registry.get(args.kind)
        print(f"{spec.kind}: {spec.title} ({spec.group}, {spec.origin})\n{spec.help}")
        for socket in spec.inputs:
            print(f"  in   {socket.name}: {socket.type}{'' if socket.required else ' (optional)'}")
        for param in spec.params:
            print(f"  set  {param.name}: {param.widget.sort} = {param.default!r}  {param.help}")
        for socket in spec.outputs:
            print(f"  out  {socket.name}: {socket.type}")
    else:
        for spec in sorted(registry.specs.values(), key=lambda found: (found.group, found.kind)):
            first = spec.help.strip().splitlines()[0] if spec.help.strip() else ""
            print(f"{spec.group:10} {spec.kind:18} {first}")
    for broken in registry.broken:
        shared.say(f"Does not load: {broken.file}:{broken.line}: {broken.message} {broken.hint}".rstrip())
    return shared.FINISHED
