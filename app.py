"""`python app.py` serves Weft, `python app.py setup` only installs it, `python app.py test` tests it."""
from __future__ import annotations

import sys

from studio import bootstrap


def main() -> int:
    """Set up what is missing, then serve until Ctrl+C; returns the exit code."""
    command, flags = bootstrap.read_command(sys.argv[1:])
    if command != "serve":
        return bootstrap.run(command, flags)
    if not bootstrap.python_fits():
        return 1
    from studio.settings import Settings

    settings = Settings.from_args(flags)  # a wrong flag is told before anything is installed
    code = bootstrap.prepare()
    if code is not None:
        return code

    print("Starting Weft ...", flush=True)
    from studio.errors import StudioError
    from studio.policy import Policy
    from studio.studio import Studio
    from studio.ui.build import launch

    try:
        studio = Studio(settings, Policy.of(settings), serve=True)
        try:
            return launch(studio)
        finally:
            studio.close()
    except StudioError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
