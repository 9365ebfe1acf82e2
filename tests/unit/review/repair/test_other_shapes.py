import numpy as np

from maskdistill.files import write_json
from maskdistill.masks import describe_mask
from maskdistill.proposals.pool import make_pool
from maskdistill.pseudo_labels.label_maps import write_label_png
from maskdistill.review.repair.other_shapes import alternatives, rank_alternatives
from maskdistill.storage.photo_arrays import PoolStore
from maskdistill.storage.run_folder import Run

SIDE = 48


def box(top, bottom, left, right):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top:bottom, left:right] = True
    return mask


MASK = box(8, 24, 8, 24)


def test_the_most_like_come_first_and_doubles_the_mask_itself_and_other_objects_are_left_out():
    near, far, other = box(8, 24, 8, 28), box(8, 40, 8, 24), box(30, 46, 30, 46)
    shapes = [("pool", far), ("cut", MASK), ("instance", other), ("stage1", near), ("prediction", near)]
    found = rank_alternatives(MASK, shapes)
    assert [item.origin for item in found] == ["stage1", "pool"]
    assert (found[0].mask == near).all()
    assert [item.overlap for item in found] == [16 / 20, 0.5]
    assert len(rank_alternatives(MASK, shapes, limit=1)) == 1


def test_further_ones_come_behind_and_only_where_they_are_others():
    near, far = box(8, 24, 8, 28), box(8, 40, 8, 24)
    cut = box(8, 24, 8, 26)
    found = rank_alternatives(
        MASK, [("pool", far)], behind=[("other_tau", far), ("other_tau", near), ("other_tau", cut)]
    )
    assert [item.origin for item in found] == ["pool", "other_tau", "other_tau"]
    assert (found[1].mask == cut).all()
    assert len(rank_alternatives(MASK, [("pool", far)], 1, behind=[("other_tau", near)])) == 1


def test_no_mask_has_no_alternatives():
    assert rank_alternatives(np.zeros_like(MASK), [("pool", MASK)]) == []


def write_masks(path, masks):
    path.parent.mkdir(parents=True, exist_ok=True)
    annotations = [
        {"id": number, "image_id": 0, "category_id": 1, "score": 0.5, **describe_mask(mask)}
        for number, mask in enumerate(masks)
    ]
    images = [{"id": 0, "file_name": "a.png", "height": SIDE, "width": SIDE}]
    write_json(path, {"images": images, "categories": [{"id": 1, "name": "object"}], "annotations": annotations})


def test_everything_that_a_run_has_of_the_place_is_there_with_its_origin(tmp_path):
    run = Run(tmp_path)
    cut, drawn, single = box(8, 24, 8, 28), box(8, 30, 8, 24), box(8, 24, 12, 24)
    write_masks(run.proposals_path, [MASK, cut])
    write_masks(run.candidate_masks_path, [drawn, box(40, 46, 40, 46)])
    write_masks(run.instances.codes_path, [single])
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[6:24, 4:24], labels[40:, 40:] = 2, 2
    run.prediction("stage2", 0).parent.mkdir(parents=True)
    write_label_png(run.prediction("stage2", 0), labels)
    found = {item.origin: item.mask for item in alternatives(run, 0, MASK)}
    assert set(found) == {"mask", "stage1", "instance", "prediction"}  # the masks that count are those as cut here
    assert (found["mask"] == cut).all()
    assert (found["stage1"] == drawn).all()
    assert (found["prediction"] == box(6, 24, 4, 24)).all()


def test_candidates_of_the_repeated_cuts_are_among_them(tmp_path):
    run = Run(tmp_path)
    kinds = np.zeros((12, 12), int)
    kinds[2:6, 2:6], kinds[2:6, 6:10] = 1, 2
    vectors = np.eye(3, 8)[kinds.ravel()] + np.random.default_rng(0).normal(0, 0.02, (144, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    pool = make_pool(vectors, vectors, (12, 12), depth=3, size=20, content=(1.0, 1.0))
    PoolStore(run.pool).write(0, [pool.to_arrays()])
    both = box(8, 24, 8, 40)
    found = alternatives(run, 0, both)
    assert {item.origin for item in found} == {"pool"}
    assert any((item.mask & box(0, SIDE, 24, SIDE)).sum() < 60 and item.overlap > 0.4 for item in found)  # the left one


def test_a_run_without_anything_gives_none(tmp_path):
    assert alternatives(Run(tmp_path), 0, MASK) == []
