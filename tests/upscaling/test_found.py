"""The upscalers that a page offers: a file is looked into once, and again when it is another one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from safetensors.torch import save_file

from studio.policy import Policy
from studio.settings import Settings
from studio.studio import Studio
from studio.upscalers import FOLDER, found_upscalers, tiles_of
from studio.upscaling import engines
from studio.upscaling.networks import SRVGGNetCompact


def test_a_file_is_hashed_once_until_it_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path / "home", port=0, device="cpu", open_browser=False)
    path = settings.models_folder / FOLDER / "own.safetensors"
    path.parent.mkdir(parents=True)
    save_file(SRVGGNetCompact(3, 8, 1, 2).state_dict(), path)
    hashed, real = [], engines._sha256
    monkeypatch.setattr(engines, "_sha256", lambda file: hashed.append(file) or real(file))
    studio = Studio(settings, Policy.local())
    try:

        def scales() -> tuple[int, ...]:
            (own,) = (found for found in found_upscalers(studio) if found.ref == str(path))
            return own.scales

        assert scales() == scales() == (2,) and tiles_of(studio, str(path), 64, 64, 0) == 1
        assert hashed == [path]
        save_file(SRVGGNetCompact(3, 8, 1, 4).state_dict(), path.with_suffix(".new"))
        os.replace(path.with_suffix(".new"), path)
        assert scales() == (4,) and hashed == [path, path]
        path.write_bytes(b"nothing")
        (own,) = (found for found in found_upscalers(studio) if found.ref == str(path))
        assert own.problem and not own.scales
    finally:
        studio.close()
