"""Settings: what the person who starts Weft chooses, read once from flags and environment, frozen afterwards.

Flags win over environment variables, these win over the defaults. Every flag and variable is described in
`docs/start.md`; a test holds that.
"""
from __future__ import annotations

import argparse
import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHIPPED_PLUGINS = ("back_projection.py", "duotone.py", "film_grain.py")  # came with Weft
MEBIBYTE = 1024 * 1024
NUMERICS = ("fast", "strict")
DEVICES = "auto, cpu, cuda, cuda:N, mps"


@dataclass(frozen=True)
class Settings:
    """Everything the start decides. Folders are absolute; nothing is created here.

    `device` is "auto", "cpu", "mps", "cuda" or "cuda:N". Cache sizes are bytes; 0 switches a tier off.
    `numerics` "strict": every picture is made alone, so that it is the same bit by bit whatever is beside it.
    """

    home: Path
    host: str = "127.0.0.1"
    port: int = 7860
    open_browser: bool = True
    window: bool = False
    public: bool = False
    space: bool = False
    space_host: str = ""
    device: str = "auto"
    cache_memory_bytes: int = 1024 * MEBIBYTE
    cache_disk_bytes: int = 4096 * MEBIBYTE
    numerics: str = "fast"
    plugins_folder: Path = ROOT / "plugins"
    assets_folder: Path = ROOT / "assets"

    @classmethod
    def from_args(cls, argv: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> Settings:
        """Settings of `python app.py FLAGS`; a wrong flag ends the process with code 2 and a usage line."""
        parser = argparse.ArgumentParser(
            prog="app.py", allow_abbrev=False,
            description="Weft, an image studio. 'setup' only installs, 'test' runs the tests; else it serves",
        )
        parser.add_argument("--home", metavar="DIR", help="folder of history, pictures and cache (~/.weft)")
        parser.add_argument("--device", help=f"{DEVICES} (auto)")
        parser.add_argument("--cache-memory", type=int, metavar="MIB", help="memory cache (1024, 0 = off)")
        parser.add_argument("--cache-disk", type=int, metavar="MIB", help="disk cache (4096, 0 = off)")
        parser.add_argument("--numerics", help="fast, or strict: every picture is made alone (fast)")
        parser.add_argument("--host", help="address to bind (127.0.0.1); another one means the public policy")
        parser.add_argument("--port", type=int, help="port (7860)")
        parser.add_argument("--no-browser", action="store_true", help="do not open the page in a browser")
        parser.add_argument("--window", action="store_true", help="open the page in a window of its own")
        parser.add_argument("--public", action="store_true", help="the limits of a public host, here too")
        args = parser.parse_args(list(argv))
        try:
            return cls.from_environ(
                environ, home=args.home, device=args.device, host=args.host, port=args.port,
                cache_memory=args.cache_memory, cache_disk=args.cache_disk, numerics=args.numerics,
                public=args.public or None,
                open_browser=False if args.no_browser else None, window=args.window,
            )
        except ValueError as error:
            parser.error(str(error))

    @classmethod
    def from_environ(
        cls, environ: Mapping[str, str] | None = None, *,
        # what a flag said; None = not said
        home: str | Path | None = None, device: str | None = None, host: str | None = None,
        port: int | None = None, cache_memory: int | None = None, cache_disk: int | None = None,
        numerics: str | None = None, public: bool | None = None, open_browser: bool | None = None,
        window: bool = False,
    ) -> Settings:
        """Settings from the environment, each value replaced by the one given. Cache sizes are in MiB.

        Raises ValueError that names the setting, what was given and what is possible.
        """
        env = os.environ if environ is None else environ
        space = bool(env.get("SPACE_ID")) or env.get("SYSTEM") == "spaces"
        bound = host or env.get("STUDIO_HOST") or ("0.0.0.0" if space else "127.0.0.1")
        asked = env.get("STUDIO_PUBLIC", "") not in ("", "0")
        folder = home or env.get("STUDIO_HOME") or Path.home() / ".weft"
        settings = cls(
            home=Path(folder).expanduser().resolve(),
            host=bound,
            port=_number("port", port, env.get("STUDIO_PORT"), 7860),
            open_browser=not space if open_browser is None else open_browser,
            window=window,
            public=space or bool(public) or asked or not is_loopback(bound),
            space=space,
            space_host=env.get("SPACE_HOST", "") if space else "",
            device=(device or env.get("STUDIO_DEVICE") or "auto").lower(),
            cache_memory_bytes=MEBIBYTE * _number(
                "cache-memory", cache_memory, env.get("STUDIO_CACHE_MEMORY"), 1024),
            cache_disk_bytes=MEBIBYTE * _number(
                "cache-disk", cache_disk, env.get("STUDIO_CACHE_DISK"), 4096),
            numerics=(numerics or env.get("STUDIO_NUMERICS") or "fast").lower(),
        )
        if settings.port > 65535:
            raise ValueError(f"port is {settings.port}; possible are 0 to 65535 (0 = any free one)")
        if settings.numerics not in NUMERICS:
            raise ValueError(f"numerics is {settings.numerics!r}; possible are {', '.join(NUMERICS)}")
        kind, _, index = settings.device.partition(":")
        numbered = kind == "cuda" and index.isdecimal()
        if kind not in ("auto", "cpu", "cuda", "mps") or (":" in settings.device and not numbered):
            raise ValueError(f"device is {settings.device!r}; possible are {DEVICES}")
        return settings

    @property
    def cache_folder(self) -> Path:
        return self.home / "cache"

    @property
    def models_folder(self) -> Path:
        """Models of the user: each sub-folder is a diffusers folder."""
        return self.home / "models"

    @property
    def embedded_models_folder(self) -> Path:
        return self.assets_folder / "models"

    @property
    def workflows_folder(self) -> Path:
        return self.assets_folder / "workflows"


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _number(name: str, given: int | None, variable: str | None, default: int) -> int:
    if given is None:
        if not variable:
            return default
        if not variable.isdecimal():
            raise ValueError(f"{name} is {variable!r}; it must be a whole number from 0")
        given = int(variable)
    if given < 0:
        raise ValueError(f"{name} is {given}; it must be 0 or more")
    return given
