"""The command line of Weft: `python -m studio COMMAND`; exit code 0, 1 (the run failed) or 2 (a bad call)."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from studio.cli import (
    bench,
    generate,
    history,
    layout,
    models,
    nodes,
    plan,
    plugin,
    run,
    score,
    shared,
    sweep,
)
from studio.cli import eval as evaluation
from studio.errors import BadDocument, Cancelled, StudioError

COMMANDS = (generate, layout, run, sweep, plan, nodes, score, evaluation, bench, history, models, plugin)


def build_parser() -> shared.Parser:
    """The parser of all commands; every command module adds its own part with `add_to(commands)`."""
    parser = shared.Parser(prog="python -m studio", description="Weft: make pictures from words and graphs.")
    shared.add_home(parser)
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=shared.Parser
    )
    for module in COMMANDS:
        module.add_to(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; never a traceback for a fault that has a name."""
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in words
    try:
        args = build_parser().parse_args(words)
        return int(args.act(args))
    except (shared.BadCall, BadDocument) as error:
        return shared.refuse(error, as_json=as_json)
    except Cancelled as error:
        return shared.fail(error, as_json=as_json, status="cancelled")
    except StudioError as error:
        return shared.fail(error, as_json=as_json)
    except KeyboardInterrupt:
        return shared.fail(Cancelled(), as_json=as_json, status="cancelled")
    except BrokenPipeError:
        return shared.FAILED  # the reader of our output has left; there is nobody to tell
    except OSError as error:
        return shared.fail(shared.from_os_error(error), as_json=as_json)


if __name__ == "__main__":
    sys.exit(main())
