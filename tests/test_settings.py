"""Settings: flags before environment before defaults; wrong values are named; a Space is public."""
from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from studio.settings import MEBIBYTE, Settings, is_loopback


def test_defaults_serve_this_computer_only() -> None:
    settings = Settings.from_args([], {})
    assert (settings.host, settings.port) == ("127.0.0.1", 7860)
    assert settings.home == Path.home() / ".weft"
    assert settings.open_browser
    assert not settings.public


def test_flags_win_over_the_environment(tmp_path: Path) -> None:
    environ = {"STUDIO_HOME": str(tmp_path / "env"), "STUDIO_PORT": "1", "STUDIO_DEVICE": "cuda",
               "STUDIO_CACHE_MEMORY": "5", "STUDIO_CACHE_DISK": "6"}
    from_environ = Settings.from_args([], environ)
    assert (from_environ.home, from_environ.port, from_environ.device) == (tmp_path / "env", 1, "cuda")
    assert (from_environ.cache_memory_bytes, from_environ.cache_disk_bytes) == (5 * MEBIBYTE, 6 * MEBIBYTE)
    flags = ["--home", str(tmp_path / "flag"), "--port", "2", "--device", "cpu", "--no-browser",
             "--cache-memory", "0", "--cache-disk", "7"]
    from_flags = Settings.from_args(flags, environ)
    assert (from_flags.home, from_flags.port, from_flags.device) == (tmp_path / "flag", 2, "cpu")
    assert (from_flags.cache_memory_bytes, from_flags.cache_disk_bytes) == (0, 7 * MEBIBYTE)
    assert not from_flags.open_browser


@pytest.mark.parametrize(("argv", "environ", "public"), [
    ([], {}, False), (["--public"], {}, True), (["--host", "0.0.0.0"], {}, True),
    (["--host", "192.168.1.5"], {}, True), (["--host", "::1"], {}, False),
    (["--host", "localhost"], {}, False),
    ([], {"SPACE_ID": "a/b"}, True), ([], {"SYSTEM": "spaces"}, True), ([], {"STUDIO_PUBLIC": "1"}, True),
    ([], {"STUDIO_PUBLIC": "0"}, False), (["--host", "127.0.0.1"], {"SPACE_ID": "a/b"}, True),
])
def test_hosts_that_strangers_reach_are_public(
        argv: list[str], environ: dict[str, str], public: bool) -> None:
    assert Settings.from_args(argv, environ).public is public


def test_a_space_serves_all_addresses_without_a_browser() -> None:
    settings = Settings.from_args([], {"SPACE_ID": "a/b", "SPACE_HOST": "a-b.hf.space"})
    assert settings.host == "0.0.0.0"
    assert settings.space_host == "a-b.hf.space"
    assert not settings.open_browser


@pytest.mark.parametrize(("argv", "environ", "told"), [
    (["--port", "70000"], {}, "port is 70000"), (["--port", "-1"], {}, "port is -1"),
    (["--port", "many"], {}, "many"), ([], {"STUDIO_PORT": "many"}, "port is 'many'"),
    (["--device", "toaster"], {}, "device is 'toaster'"), (["--device", "cpu:1"], {}, "device is 'cpu:1'"),
    (["--device", "cuda:"], {}, "device is 'cuda:'"), (["--cache-disk", "-5"], {}, "cache-disk is -5"),
    (["--colour", "red"], {}, "--colour"),
])
def test_wrong_values_are_named(
        argv: list[str], environ: dict[str, str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        Settings.from_args(argv, environ)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_settings_cannot_change_after_the_start() -> None:
    settings = Settings.from_args([], {})
    with pytest.raises(FrozenInstanceError):
        settings.port = 1  # type: ignore[misc]


def test_cache_and_models_lie_in_the_home(tmp_path: Path) -> None:
    settings = Settings.from_args(["--home", str(tmp_path)], {})
    assert settings.cache_folder.is_relative_to(tmp_path)
    assert settings.models_folder.is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "home"], "settings create nothing"


@pytest.mark.parametrize(("host", "loopback"), [
    ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("[::1]", True), ("localhost", True),
    ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("localhost.evil.com", False), ("", False),
])
def test_loopback_is_told_from_the_rest(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
