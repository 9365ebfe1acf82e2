"""The head that says where one object ends: what counts as an object's middle, and whether it learns to find each."""

import dataclasses

import numpy as np
import pytest
import torch

from maskdistill.config import TrainConfig
from maskdistill.errors import CheckpointError
from maskdistill.masks import mask_iou
from maskdistill.models.instance_head import InstanceHead, InstanceTask, Lesson, centres_of, draw_masks
from maskdistill.models.training.checkpoint import read_tensors, write_tensors
from maskdistill.models.training.train import train

ROWS, COLS, INPUTS = 16, 20, 24
KINDS = np.random.default_rng(99).normal(size=(6, INPUTS)).astype(np.float32)
TRAINING = TrainConfig(
    epochs=8, batch_size=1, learning_rate=2e-3, weight_decay=1e-2, clip_norm=5.0, precision="float32"
)


def blocks(seed):
    """Vectors of a grid with one to three blocks of constant tokens, its foreground, and the mask of each block."""
    generator = np.random.default_rng(seed)
    kinds, masks = np.zeros((ROWS, COLS), int), []
    for _ in range(generator.integers(1, 4)):
        rows, cols = generator.integers(3, 7, 2)
        top, left = generator.integers(0, ROWS - rows), generator.integers(0, COLS - cols)
        place = (slice(top, top + rows), slice(left, left + cols))
        if kinds[place].any():
            continue
        kinds[place] = generator.integers(1, len(KINDS))
        mask = np.zeros((ROWS, COLS), np.float32)
        mask[place] = 1
        masks.append(mask)
    vectors = KINDS[kinds.ravel()] + 0.1 * generator.normal(size=(kinds.size, INPUTS)).astype(np.float32)
    return vectors.astype(np.float32), (kinds > 0).astype(np.float32), np.array(masks)


def lesson_of(head, seed):
    vectors, foreground, masks = blocks(seed)
    return Lesson(head.points_of(vectors, foreground), masks, np.ones(len(masks), np.float32))


def new_head():
    head = InstanceHead(INPUTS, 8, width=32, embedding=8)
    head.look_at(np.concatenate([blocks(seed)[0] for seed in range(10)]))
    return head


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    head = new_head()
    lessons = [lesson_of(head, seed) for seed in range(60)]
    folder = tmp_path_factory.mktemp("head")
    result = train(InstanceTask(head, len(lessons), lessons.__getitem__, range(4)), TRAINING, folder=folder, seed=0)
    return head, result


def test_finds_each_block_of_grids_it_never_saw(trained):
    head, result = trained
    assert result.history[-1].metrics["mask_iou"] > 0.8
    found = wanted = 0
    for seed in range(1000, 1020):
        vectors, foreground, masks = blocks(seed)
        drawn = draw_masks([head], [head.points_of(vectors, foreground)])
        sure = drawn.logits[drawn.scores > 0.3] > 0
        wanted += len(masks)
        found += sum(any(mask_iou(mask > 0, other) > 0.7 for other in sure) for mask in masks)
    assert found >= 0.9 * wanted


def test_masks_come_best_first_with_scores_from_0_to_1(trained):
    head, _ = trained
    vectors, foreground, _ = blocks(5)
    drawn = draw_masks([head], [head.points_of(vectors, foreground)])
    assert (np.diff(drawn.scores) <= 0).all()
    assert ((drawn.scores >= 0) & (drawn.scores <= 1)).all()
    assert drawn.logits.shape == (len(drawn.scores), ROWS, COLS)


def test_equal_trainings_give_equal_weights_and_a_stopped_one_goes_on(tmp_path):
    def teach(folder, stop_at=0):
        head = new_head()
        lessons = [lesson_of(head, seed) for seed in range(6)]
        task = InstanceTask(head, len(lessons), lessons.__getitem__)
        loss, steps = task.loss, [0]

        def stopped(*arguments):
            steps[0] += 1
            if steps[0] == stop_at:
                raise KeyboardInterrupt
            return loss(*arguments)

        task.loss = stopped
        return train(task, dataclasses.replace(TRAINING, epochs=2), folder=tmp_path / folder, seed=3)

    whole = teach("whole").weights
    with pytest.raises(KeyboardInterrupt):
        teach("stopped", stop_at=9)
    resumed = teach("stopped")
    assert resumed.resumed_at == 8
    first, second = read_tensors(whole)[0], read_tensors(resumed.weights)[0]
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_photo_without_targets_teaches_where_nothing_is():
    head = new_head()
    vectors, foreground, _ = blocks(1)
    empty = Lesson(head.points_of(vectors, foreground), np.zeros((0, ROWS, COLS), np.float32), np.zeros(0, np.float32))
    losses = InstanceTask(head, 1, lambda _index: empty).loss([0], torch.Generator().manual_seed(0))
    sum(losses.values()).backward()
    assert losses["masks"] == 0
    assert losses["objects"] > 0
    assert head.objectness.weight.grad.abs().sum() > 0


def test_foreground_that_no_target_covers_counts_little():
    head = new_head()
    vectors, _, _ = blocks(1)
    nothing = np.zeros((0, ROWS, COLS), np.float32), np.zeros(0, np.float32)

    def loss(foreground):
        points = head.points_of(vectors, np.zeros((ROWS, COLS), np.float32))
        points[..., -1] = 2 * foreground - 1
        task = InstanceTask(head, 1, lambda _index: Lesson(points, *nothing))
        return float(task.loss([0], torch.Generator().manual_seed(0))["objects"].detach())

    assert loss(1.0) < 0.5 * loss(0.0)


def test_middles_are_inside_and_of_the_object_s_size():
    masks = np.zeros((3, 10, 10), np.float32)
    masks[0, 4:6, 4:5] = 1  # 2 % of the photo
    masks[1, 0:3, 0:3] = 1  # 9 %
    masks[2, 2:8, 2:8] = 1  # 36 %
    sizes, places, owners = centres_of(masks)
    for size, place, owner in zip(sizes.tolist(), places.tolist(), owners.tolist(), strict=True):
        assert size == owner
        assert masks[owner].ravel()[place] == 1
    assert set(owners.tolist()) == {0, 1, 2}
    assert len(centres_of(masks[:0])[0]) == 0


def test_read_back_it_is_the_same_head(trained, tmp_path):
    head, result = trained
    other = InstanceHead.load(result.weights)
    vectors, foreground, _ = blocks(7)
    points = head.points_of(vectors, foreground)
    np.testing.assert_array_equal(other.points_of(vectors, foreground), points)
    np.testing.assert_array_equal(draw_masks([other], [points]).scores, draw_masks([head], [points]).scores)
    path = tmp_path / "other.safetensors"
    write_tensors(path, {"objectness.weight": torch.zeros(3, 2)}, {})
    with pytest.raises(CheckpointError, match="another model"):
        InstanceHead.load(path)
