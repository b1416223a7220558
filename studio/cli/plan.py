"""`plan WORKFLOW.json`: what would run, what comes from the cache, and why; nothing runs."""

from __future__ import annotations

import argparse

from studio.cli import shared
from studio.cli.run import add_workflow, read_file, read_workflow

COLUMN = 22


def add_to(commands: argparse._SubParsersAction[shared.Parser]) -> None:
    """Add the command."""
    parser = commands.add_parser("plan", help="what a run would do, and why")
    add_workflow(parser)
    parser.add_argument("--no-cache", action="store_true", help="as a run without the cache")
    shared.add_json(parser)
    shared.add_home(parser)
    parser.set_defaults(act=act)


def act(args: argparse.Namespace) -> int:
    """Print the plan; exit code 2 when something in the document stops it."""
    read = read_file(args.workflow)
    with shared.open_studio(args) as studio:
        document = read_workflow(studio, read, args.workflow, args.settings, args.targets)
        plan = studio.plan(document, args.targets, use_cache=not args.no_cache)
    stopped = any(p.blocking for p in plan.problems) or any(n.action == "failed" for n in plan.nodes)
    if args.json:
        shared.show({"status": "failed" if stopped else "planned"} | plan.to_json())
        return shared.BAD_CALL if stopped else shared.FINISHED
    for node in plan.nodes:
        cost = f"  about {node.seconds:.2g} s" if node.seconds and node.action == "run" else ""
        print(f"{node.action:8}{node.id:{COLUMN}}{node.reason}{cost}")
    for problem in plan.problems:
        where = ".".join(part for part in (problem.node, problem.socket) if part)
        shared.say(
            f"{problem.level.capitalize()}: {where + ': ' if where else ''}{problem.message} {problem.hint}"
        )
    print(
        f"{len(plan.will_run)} of {len(plan.nodes)} nodes will run"
        + (f", about {plan.seconds:.1f} s" if plan.seconds else "")
    )
    return shared.BAD_CALL if stopped else shared.FINISHED
