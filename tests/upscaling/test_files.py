"""Upscaler files: scale, width and depth come from the shapes, old spellings are read, pickles never."""

from __future__ import annotations

import importlib.util
import pickle
import sys

import pytest
import torch
from safetensors.torch import save_file

from studio.errors import BadModel
from studio.upscaling import others
from studio.upscaling.files import design_of, read_design, read_network
from studio.upscaling.networks import RRDBNet, SRVGGNetCompact

NETWORKS = {
    "compact x2": lambda: SRVGGNetCompact(3, 8, 3, 2),
    "compact x4": lambda: SRVGGNetCompact(3, 12, 1, 4),
    "compact x1": lambda: SRVGGNetCompact(3, 8, 2, 1),
    "rrdb x4": lambda: RRDBNet(3, 8, 4, 2),
    "rrdb x2": lambda: RRDBNet(3, 8, 4, 1, 2, 2),
    "rrdb x1": lambda: RRDBNet(3, 8, 4, 1, 2, 4),
    "rrdb x8": lambda: RRDBNet(3, 8, 4, 1, 3),
}


def network(name):
    torch.manual_seed(3)
    return NETWORKS[name]().eval()


def saved(tmp_path, state, name="model.safetensors"):
    path = tmp_path / name
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return path


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("prefix", ["", "params_ema.", "params.", "module."])
def test_a_file_gives_the_network_back(tmp_path, name, prefix):
    own = network(name)
    path = saved(tmp_path, {prefix + key: value for key, value in own.state_dict().items()})
    found = read_network(path)
    pictures = torch.rand(2, 3, 12, 16)
    with torch.no_grad():
        assert torch.equal(found(pictures), own(pictures))
        assert found(pictures).shape == (2, 3, 12 * own.scale, 16 * own.scale)
    assert (found.scale, found.fold, found.reach) == (own.scale, own.fold, own.reach)
    assert f"x{name[-1]}" in read_design(path).title
    assert not found.training and not any(p.requires_grad for p in found.parameters())


def numbered(name):
    """ESRGAN's first spelling, a chain of numbered modules (x4)."""
    head, _, rest = name.partition(".")
    order = {"conv_first": 0, "conv_up1": 3, "conv_up2": 6, "conv_hr": 8, "conv_last": 10}
    if head in order:
        return f"model.{order[head]}.{rest}"
    if head == "conv_body":
        return f"model.1.sub.2.{rest}"
    _, block, dense, conv, kind = name.split(".")
    return f"model.1.sub.{block}.RDB{dense[-1]}.{conv}.0.{kind}"


def trunk(name):
    """ESRGAN's second spelling."""
    head, _, rest = name.partition(".")
    plain = {"conv_up1": "upconv1", "conv_up2": "upconv2", "conv_hr": "HRconv", "conv_body": "trunk_conv"}
    if head != "body":
        return f"{plain.get(head, head)}.{rest}"
    _, block, dense, conv, kind = name.split(".")
    return f"RRDB_trunk.{block}.RDB{dense[-1]}.{conv}.{kind}"


@pytest.mark.parametrize("spelling", [numbered, trunk])
def test_older_spellings_are_the_same_network(tmp_path, spelling):
    own = network("rrdb x4")
    found = read_network(saved(tmp_path, {spelling(k): v for k, v in own.state_dict().items()}))
    pictures = torch.rand(1, 3, 9, 7)
    with torch.no_grad():
        assert torch.equal(found(pictures), own(pictures))


@pytest.mark.parametrize("name", ["compact x2", "rrdb x4", "rrdb x2"])
def test_reach_is_where_gradients_end(name):
    """A pixel of the result depends on nothing further away than `reach`, and, unfolded, on just that far."""
    own, side = network(name), 100
    pictures = torch.rand(1, 3, side, side, requires_grad=True)
    made, furthest = own(pictures), 0
    for shift in range(own.scale * own.fold):
        at = side // 2 * own.scale + shift
        (gradient,) = torch.autograd.grad(made[0, 0, at, at], pictures, retain_graph=True)
        rows = gradient.abs().sum((0, 1, 3)).nonzero().flatten()
        centre = at // own.scale
        furthest = max(furthest, centre - int(rows.min()), int(rows.max()) - centre)
    assert furthest <= own.reach
    assert furthest == own.reach or own.fold > 1


@pytest.mark.parametrize("name", ["model.pth", "model.pt", "model.ckpt", "model.safetensors"])
def test_a_pickle_is_refused_by_name_and_by_content_and_never_opened(tmp_path, name):
    class Trap:
        def __reduce__(self):
            return (exec, ("raise SystemExit('a pickle was opened')",))

    path = tmp_path / name
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(BadModel, match="is a pickle") as caught:
        read_network(path)
    assert "weights_only=True" in caught.value.hint and "save_file" in caught.value.hint
    torch.save({"a": torch.ones(1)}, path)
    with pytest.raises(BadModel, match="is a pickle"):
        read_network(path)


def test_files_that_are_damaged_missing_or_of_something_else(tmp_path):
    with pytest.raises(BadModel, match="no file"):
        read_network(tmp_path / "gone.safetensors")
    with pytest.raises(BadModel, match="no file"):
        read_network(tmp_path)
    path = saved(tmp_path, network("compact x2").state_dict())
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(BadModel, match="damaged"):
        read_network(path)
    (tmp_path / "text.safetensors").write_text("hello there, this is no model at all")
    with pytest.raises(BadModel, match="damaged"):
        read_network(tmp_path / "text.safetensors")


def changed(name, **more):
    state = dict(network(name).state_dict())
    for key, value in more.items():
        key = key.replace("__", ".")
        if value is None:
            del state[key]
        else:
            state[key] = value
    return state


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (lambda: SRVGGNetCompact(1, 8, 2, 2).state_dict(), "one channel, grey"),
        (lambda: RRDBNet(1, 8, 4, 1).state_dict(), "one channel, grey"),
        (lambda: changed("compact x2", body__8__weight=torch.rand(11, 8, 3, 3)), "no whole scale"),
        (lambda: changed("compact x2", body__1__weight=None), "no PReLU"),
        (lambda: changed("compact x2", body__4__weight=None), "do not fit"),
        (lambda: changed("compact x2", body__4__weight=torch.rand(9, 8, 3, 3)), "do not fit"),
        (lambda: changed("rrdb x4", conv_first__weight=torch.rand(8, 7, 3, 3)), "no whole scale"),
        (lambda: changed("rrdb x4", body__1__rdb2__conv3__bias=None), "do not fit"),
        (lambda: changed("rrdb x4", conv_last__weight=None), "no convolutions"),
    ],
)
def test_networks_that_cannot_be_run_say_why(tmp_path, state, said):
    path = saved(tmp_path, state())
    with pytest.raises(BadModel, match=said) as caught:
        read_network(path)
    assert path.name in caught.value.message and caught.value.hint


def test_a_number_too_large_is_no_scale():
    assert design_of({"body.0.weight": (8, 3, 3, 3), "odd": (1,)}) is None
    with pytest.raises(BadModel, match="no whole scale"):
        design_of({"body.0.weight": (8, 3, 3, 3), "body.1.weight": (8,), "body.2.weight": (3 * 81, 8, 3, 3)})


needs_spandrel = pytest.mark.skipif(importlib.util.find_spec("spandrel") is None, reason="needs spandrel")


def test_other_networks_want_spandrel(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == "spandrel" else find(n, *a))
    with pytest.raises(BadModel, match="does not know") as caught:
        read_network(saved(tmp_path, {"head.0.weight": torch.rand(3, 3)}))
    assert "spandrel" in caught.value.hint


def test_a_spandrel_that_cannot_start_says_what_it_lacks(tmp_path, monkeypatch):
    (tmp_path / "spandrel").mkdir()
    (tmp_path / "spandrel" / "__init__.py").write_text("import a_package_that_nobody_has", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "spandrel", raising=False)
    with pytest.raises(BadModel, match=r"cannot start here.*a_package_that_nobody_has"):
        read_network(saved(tmp_path, {"head.0.weight": torch.rand(3, 3)}))


@needs_spandrel
def test_spandrel_reads_our_networks_alike(tmp_path):
    with others._stand_in():
        import spandrel
    torch.manual_seed(0)
    for own in (SRVGGNetCompact(3, 16, 3, 2), RRDBNet(3, 32, 32, 2), RRDBNet(3, 32, 32, 1, 2, 2)):
        theirs = spandrel.ModelLoader().load_from_state_dict(dict(own.state_dict())).model.eval()
        found = read_network(saved(tmp_path, own.state_dict()))
        pictures = torch.rand(1, 3, 20, 24)
        with torch.no_grad():
            assert (found(pictures) - theirs(pictures)).abs().max() < 1e-6


@needs_spandrel
def test_a_network_of_spandrels_own_runs(tmp_path):
    with others._stand_in():
        from spandrel.architectures.SPAN import SPAN
    own = SPAN(num_in_ch=3, num_out_ch=3, feature_channels=16, upscale=2)
    found = read_network(saved(tmp_path, {k: v.clone() for k, v in own.state_dict().items()}))
    assert found.scale == 2 and found(torch.rand(1, 3, 10, 12)).shape == (1, 3, 20, 24)


def test_the_stand_in_for_torchvision_does_not_stay():
    there = importlib.util.find_spec("torchvision") is not None
    before = set(sys.modules)
    with others._stand_in():
        if not there:
            from torchvision.transforms import InterpolationMode

            with pytest.raises(BadModel, match="torchvision"):
                InterpolationMode()
    assert there or not {name for name in set(sys.modules) - before if name.startswith("torchvision")}
