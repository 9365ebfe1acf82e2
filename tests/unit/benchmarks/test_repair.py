import numpy as np

from benchmarks import repair
from benchmarks.repair import GrabCut, msrc_cases, scene_cases
from maskdistill.masks import mask_iou
from maskdistill.review.repair import Click


def box(top, bottom, left, right):
    mask = np.zeros((60, 80), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_grab_cut_follows_the_colours_from_a_rough_mask_and_obeys_clicks():
    pixels = np.random.default_rng(0).integers(0, 30, (60, 80, 3), dtype=np.uint8)
    pixels[20:40, 20:60] += 200
    tool = GrabCut(pixels)
    found = tool(np.asfortranarray(box(15, 45, 15, 70)), [Click(40.0, 30.0, adds=True), Click(5.0, 5.0, adds=False)])
    assert mask_iou(found, box(20, 40, 20, 60)) > 0.95
    assert not tool(box(15, 45, 15, 70), [Click(40.0, 30.0, adds=False)])[30, 40]


def test_grab_cut_of_nothing_is_nothing():
    assert not GrabCut(np.zeros((60, 80, 3), np.uint8))(box(0, 0, 0, 0), [Click(5.0, 5.0, adds=False)]).any()


def test_each_object_of_a_scene_is_wanted_of_one_mask_at_most(monkeypatch):
    objects = [box(0, 20, 0, 20), box(30, 50, 30, 60)]
    monkeypatch.setattr(repair, "read_objects", lambda _source, _photo: [(item, 1) for item in objects])
    masks = [box(0, 20, 0, 16), box(0, 20, 0, 19), box(55, 60, 0, 80)]
    cases = list(scene_cases(None, None, masks))
    assert len(cases) == 1
    assert (cases[0].mask == masks[1]).all()
    assert (cases[0].target == objects[0]).all()


def test_the_best_mask_of_a_photo_is_mended_towards_what_it_overlaps_best(monkeypatch):
    labels = np.zeros((60, 80), np.uint8)
    labels[0:20, 0:20], labels[30:50, 30:60], labels[:, 70:] = 1, 2, 255
    monkeypatch.setattr(repair, "read_label", lambda _source, _photo: labels)
    (case,) = msrc_cases(None, None, [box(30, 50, 34, 80), box(0, 20, 0, 20)])
    assert (case.target == box(30, 50, 30, 60)).all()
    assert case.counts.sum() == 60 * 70
    assert list(msrc_cases(None, None, [])) == []
