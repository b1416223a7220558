"""What training sees of the drawn scenes: shards are whole, labels lie where the objects are, batches are
drawn from all of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.scenes.draw import draw_masks
from studio.scenes.world import COLOURS, KINDS, PATTERNS, SIZES, Scene, sample_scene
from studio.training.labels import OBJECT_WEIGHT, PATTERN_WEIGHT, captions_of, emphasis, marks
from studio.training.recipe import TEXT_TOKENS, make_tokenizer
from studio.training.scene_store import scenes_of, write_shards
from studio.training.scenes import Scenes


@pytest.fixture(scope="module")
def scene() -> Scene:
    return sample_scene(np.random.default_rng(5), 3)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    rng = np.random.default_rng(0)
    np.savez(folder / "latent_space.npz", projection=rng.normal(size=(16, 192)), bias=np.zeros(16))
    for seed in (1, 2):
        write_shards(folder, 64, 24, seed=seed, patterned=1.0, related=1.0)
    return folder


def test_captions_are_token_ids_that_the_tokenizer_gives_back(scene: Scene) -> None:
    tokenizer = make_tokenizer()
    rows = captions_of(scene, np.random.default_rng(1))
    assert rows.dtype == np.uint8 and rows.shape[1] == TEXT_TOKENS
    assert len({row.tobytes() for row in rows}) > 4
    for row in rows:
        ids = [int(i) for i in row if i]
        text = tokenizer.decode(ids[1:-1])
        assert tokenizer(text).input_ids == ids and tokenizer.unk_token_id not in ids


def test_a_share_of_one_makes_every_caption_of_a_pair_a_relation() -> None:
    pair = sample_scene(np.random.default_rng(3), 2)
    words = make_tokenizer().get_vocab()
    relations = {words["above"], words["below"], words["of"]}
    rows = captions_of(pair, np.random.default_rng(1), 16, related=1.0)
    assert all(relations & set(row.tolist()) for row in rows)


def test_labels_lie_where_the_objects_are(scene: Scene) -> None:
    side = 16
    found, weights = marks(scene, side).reshape(side, side, 4), emphasis(scene, side).reshape(side, side)
    tables = (tuple(KINDS), tuple(COLOURS), tuple(PATTERNS), tuple(SIZES))
    shown = draw_masks(scene, 256).reshape(-1, side, 16, side, 16).any((2, 4))
    for item, mask in zip(scene.objects, shown, strict=True):
        row, column = int(item.cy * side), int(item.cx * side)
        values = (item.kind, item.colour, item.pattern, item.size)
        named = [table[int(i) - 1] for table, i in zip(tables, found[row, column], strict=True)]
        assert named == list(values)
        assert (weights[mask] == OBJECT_WEIGHT).all()
    boxed = np.zeros((256, 256), bool)
    for item in scene.objects:
        x0, y0, x1, y1 = (int(edge * 256) for edge in item.box)
        boxed[max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1] = True
    outside = ~boxed.reshape(side, 16, side, 16).any((1, 3))
    assert outside.any() and (found[outside] == 0).all()
    assert set(np.unique(weights)) == {1, OBJECT_WEIGHT}


def test_patterned_objects_count_more_also_where_a_plain_one_lies_over_them(scene: Scene) -> None:
    first = scene.objects[0]
    plain, striped, dotted = (replace(first, pattern=pattern) for pattern in ("solid", "striped", "dotted"))
    where = emphasis(replace(scene, objects=(plain,)), 16) == OBJECT_WEIGHT
    assert where.any() and PATTERN_WEIGHT > OBJECT_WEIGHT
    for objects in ((striped,), (dotted,), (striped, plain), (plain, striped)):
        weights = emphasis(replace(scene, objects=objects), 16)
        assert (weights[where] == PATTERN_WEIGHT).all() and (weights[~where] == 1).all()


def test_batches_come_from_all_shards_and_pad_as_little_as_asked(shards: Path) -> None:
    scenes = Scenes(shards, 64, seed=1)
    assert len(scenes) == 48
    ids, latent, weight, marked = next(scenes.batches(8, (40,)))
    assert (ids.shape, latent.shape) == ((8, 40), (8, 16, 8, 8))
    assert (weight.shape, marked.shape) == ((8, 16), (8, 16, 4))
    assert latent.dtype == weight.dtype == torch.float32 and marked.dtype == torch.int64
    seen = set()
    for number, (ids, latent, _, _) in enumerate(scenes.batches(8, (20, 30, 40))):
        assert ids.shape[1] in (20, 30, 40) and bool((ids[:, 0] == 1).all())
        seen |= {row.numpy().tobytes() for row in latent}
        if number == 40:
            break
    assert len(seen) > 40
    stored = {row.float().numpy().tobytes() for row in scenes.held["data"][:48]}
    assert seen <= stored


def test_a_tenth_of_the_prompts_is_empty(shards: Path) -> None:
    batches = Scenes(shards, 64, seed=2).batches(64, (40,))
    rows = torch.cat([next(batches)[0] for _ in range(16)])
    assert 0.06 < float((rows[:, 2] == 0).float().mean()) < 0.14


def test_room_is_a_limit_and_new_shards_are_taken_in(shards: Path, tmp_path: Path) -> None:
    assert len(Scenes(shards, 64, seed=1, room=10)) == 24  # a shard is taken whole
    for path in shards.glob("*.npz"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    later = tmp_path / "latents-64-2-0000.npz"
    kept = later.read_bytes()
    later.unlink()
    scenes = Scenes(tmp_path, 64, seed=1)
    assert len(scenes) == 24
    first = scenes.held["data"][:24].clone()
    later.write_bytes(kept)
    scenes.refresh()
    assert len(scenes) == 48 and torch.equal(scenes.held["data"][:24], first)


def test_patterned_scenes_are_a_choice_and_the_default_stays() -> None:
    assert {item.pattern for s in scenes_of(3, 40, 1.0) for item in s.objects} == {"striped", "dotted"}
    assert scenes_of(3, 5) == scenes_of(3, 5, 0.4)
