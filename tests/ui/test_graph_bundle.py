"""The committed bundle of the graph editor: made from these sources, with every notice; its rules tested."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from studio.settings import ROOT

FOLDER = ROOT / "assets" / "graph"
NODE = shutil.which("node")


def sources() -> list[str]:
    src = (f"src/{path.name}" for path in (FOLDER / "src").iterdir() if not path.name.endswith(".test.js"))
    return sorted([*src, "package.json", "package-lock.json"])


def test_the_bundle_is_made_from_these_sources() -> None:
    """After a change in assets/graph/src: `npm ci && npm run build` in assets/graph."""
    made = hashlib.sha256()
    for name in sources():
        made.update(f"{name}\n".encode() + (FOLDER / name).read_bytes() + b"\n")
    assert made.hexdigest() == (FOLDER / "dist" / "sources.sha256").read_text().strip()


@pytest.mark.slow
def test_building_again_gives_the_same_bytes(tmp_path: Path) -> None:
    if NODE is None:
        pytest.skip("no node on this machine")
    if not (FOLDER / "node_modules" / "esbuild").is_dir():
        pytest.skip("assets/graph/node_modules is missing: npm ci --ignore-scripts")
    command = [NODE, "build.mjs", "--out", str(tmp_path)]
    subprocess.run(command, cwd=FOLDER, check=True, capture_output=True, timeout=120)
    for name in ("graph.js", "graph.css", "sources.sha256"):
        assert (tmp_path / name).read_bytes() == (FOLDER / "dist" / name).read_bytes(), name


def test_versions_are_exact_and_each_bundled_package_has_its_notice() -> None:
    package = json.loads((FOLDER / "package.json").read_text())
    for version in (*package["dependencies"].values(), *package["devDependencies"].values()):
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    locked = json.loads((FOLDER / "package-lock.json").read_text())["packages"]
    notices = (FOLDER / "THIRD_PARTY.md").read_text()
    bundled = {
        path.removeprefix("node_modules/"): entry["version"]
        for path, entry in locked.items()
        if path and not entry.get("dev") and "@types" not in path
    }
    assert len(bundled) >= 15
    for name, version in bundled.items():
        assert f"## {name} {version} (" in notices, name
    assert notices.count("Copyright") >= len(bundled)


def test_the_page_gets_no_source_map_and_no_eval() -> None:
    script = (FOLDER / "dist" / "graph.js").read_text(encoding="utf-8")
    assert "sourceMappingURL" not in script and "eval(" not in script and "new Function" not in script
    assert len(script) < 600_000


def test_what_is_pure_is_tested_by_node() -> None:
    if NODE is None:
        pytest.skip("no node on this machine")
    made = subprocess.run(
        [NODE, "--test", "src/"], cwd=FOLDER, capture_output=True, text=True, check=False, timeout=120
    )
    assert made.returncode == 0, made.stdout[-4000:]
