"""Policy: each field refuses something, public never allows more than local, a Space cannot switch it off."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import pytest

from studio.errors import Refused
from studio.policy import Policy
from studio.settings import Settings

LOCAL, PUBLIC = Policy.local(), Policy.public()

# field -> a call that the public policy must refuse because of it; rights that others read are in READ
REFUSALS: dict[str, Callable[[Policy], None]] = {
    "allow_plugins": lambda policy: policy.check_plugin("grain", "00"),
    "plugin_digests": lambda policy: policy.check_plugin("grain", "00"),
    "allow_paths": lambda policy: policy.check_path(),
    "allow_hub": lambda policy: policy.check_model_ref("hub:a/b"),
    "hub_ids": lambda policy: policy.check_model_ref("hub:a/b"),
    "allow_urls": lambda policy: policy.check_url(),
    "show_traces": lambda policy: policy.check_trace(),
    "max_pixels": lambda policy: policy.check_pixels(2048, 1024),
    "max_enlarged": lambda policy: policy.check_enlarged(6000, 4000),
    "max_steps": lambda policy: policy.check_steps(51),
    "max_batch": lambda policy: policy.check_pixels(64, 64, 5),
    "max_prompt": lambda policy: policy.check_prompt("x" * 2001),
    "max_nodes": lambda policy: policy.check_document(65, 0),
    "max_edges": lambda policy: policy.check_document(1, 257),
    "max_json_bytes": lambda policy: policy.check_json(1_000_001),
    "max_json_depth": lambda policy: policy.check_json(1, 33),
    "max_cells": lambda policy: policy.check_cells(10),
    "max_upload_bytes": lambda policy: policy.check_upload(20_000_001),
    "max_decoded_pixels": lambda policy: policy.check_picture(4200, 4200),
    "max_waiting": lambda policy: policy.check_queue(waiting=2, queued=2),
    "max_queue": lambda policy: policy.check_queue(waiting=0, queued=20),
    "max_stored_bytes": lambda policy: policy.check_stored(nbytes=200_000_001, rows=1),
    "max_stored_rows": lambda policy: policy.check_stored(nbytes=1, rows=501),
}
SAME_EVERYWHERE = {"max_frames": lambda policy: policy.check_picture(8, 8, frames=2)}
READ = {"name", "share_cache", "embed_graph", "max_running", "lifetime_hours"}


def test_every_field_has_a_refusal_or_is_read_elsewhere() -> None:
    assert {field.name for field in fields(Policy)} == {*REFUSALS, *SAME_EVERYWHERE, *READ}


@pytest.mark.parametrize("name", sorted(REFUSALS))
def test_public_refuses_what_local_allows(name: str) -> None:
    REFUSALS[name](LOCAL)
    with pytest.raises(Refused):
        REFUSALS[name](PUBLIC)


@pytest.mark.parametrize("policy", [LOCAL, PUBLIC], ids=lambda policy: policy.name)
def test_moving_pictures_are_refused_everywhere(policy: Policy) -> None:
    with pytest.raises(Refused, match="frames"):
        SAME_EVERYWHERE["max_frames"](policy)


def test_public_is_at_most_local_in_each_number_and_right() -> None:
    for name, limit in PUBLIC.limits().items():
        local = getattr(LOCAL, name)
        assert local is None or limit <= local, name
    for field in fields(Policy):
        if isinstance(getattr(LOCAL, field.name), bool):
            assert getattr(PUBLIC, field.name) <= getattr(LOCAL, field.name), field.name


def test_limits_are_inclusive() -> None:
    PUBLIC.check_steps(50)
    PUBLIC.check_document(64, 256)
    PUBLIC.check_pixels(1024, 1024)
    PUBLIC.check_json(1_000_000, 32)


def test_a_space_is_public_whatever_the_settings_say(
        monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    assert Policy.of(settings).name == "local"
    assert Policy.of(replace(settings, public=True)).is_public
    monkeypatch.setenv("SPACE_ID", "someone/weft")
    assert Policy.of(settings).is_public


def test_embedded_models_run_everywhere() -> None:
    PUBLIC.check_model_ref("embedded:scenes-sd3")


@pytest.mark.parametrize("ref", ["", "/etc", "../x", "embedded:../x", "embedded:", "tiny:sd3", "C:\\models",
                                 "hub:a/../b", "hub:a", "hub:a/b/c", "https://a/b", "embedded:a/b"])
def test_public_loads_nothing_from_folders_or_unlisted_places(ref: str) -> None:
    with pytest.raises(Refused):
        PUBLIC.check_model_ref(ref)


def test_public_loads_what_is_listed() -> None:
    listed = replace(PUBLIC, hub_ids=frozenset({"hub:a/b"}), plugin_digests=frozenset({"ab12"}))
    listed.check_model_ref("hub:a/b")
    listed.check_plugin("grain", "ab12")
    with pytest.raises(Refused, match="does not load"):
        listed.check_model_ref("hub:a/c")


@pytest.mark.parametrize("ref", ["hub:a", "hub:a/../b", "hub:../b", "hub:a/b c"])
def test_malformed_hub_names_are_refused_locally_too(ref: str) -> None:
    with pytest.raises(Refused, match="no model of the Hub"):
        LOCAL.check_model_ref(ref)


@pytest.mark.parametrize(
    ("leads", "value"),
    [("model", "/models/x"), ("model", "tiny:sd3"), ("file", "/x.safetensors"), ("file", "x.safetensors"),
     ("file", "../x"), ("file", "embedded:../x"), ("file", "~")],
)  # fmt: skip
def test_a_setting_leads_to_no_path_of_a_public_host(leads: str, value: str) -> None:
    with pytest.raises(Refused, match=r"does not load|opens no files"):
        PUBLIC.check_reference(leads, value)
    LOCAL.check_reference(leads, value)


def test_names_and_embedded_files_lead_nowhere_else() -> None:
    for leads, value in (("file", "lanczos"), ("file", "embedded:a"), ("model", "embedded:a"), ("", "/x")):
        PUBLIC.check_reference(leads, value)


def test_refusal_names_value_limit_and_place() -> None:
    with pytest.raises(Refused) as refused:
        PUBLIC.check_steps(10**9, node="n7", socket="steps")
    assert "1,000,000,000" in str(refused.value)
    assert "50" in refused.value.hint
    assert (refused.value.node, refused.value.socket) == ("n7", "steps")
