import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from maskdistill.errors import RunError
from maskdistill.files import write_json
from maskdistill.masks import bounding_box, encode_mask
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.run_folder import Run


def rectangle(x, y, width, height):
    mask = np.zeros((20, 30), bool)
    mask[y : y + height, x : x + width] = True
    return mask


def annotation(mask_id, image, mask):
    return {"id": mask_id, "image_id": image, "segmentation": encode_mask(mask), "bbox": list(bounding_box(mask))}


@pytest.fixture
def masks():
    return {20: rectangle(3, 4, 5, 6), 0: rectangle(0, 0, 30, 20), 21: rectangle(29, 19, 1, 1)}


@pytest.fixture
def run(tmp_path, masks):
    write(tmp_path, masks)
    return Run(tmp_path)


def write(folder, masks):
    items = [annotation(mask_id, mask_id // 10, mask) for mask_id, mask in masks.items()]
    (folder / "proposals.json").write_text(json.dumps({"annotations": items}))


def test_each_mask_is_found_by_its_id(run, masks):
    codes = MaskCodes.open(run)
    assert len(codes) == 3
    for mask_id, mask in masks.items():
        assert np.array_equal(codes.decode(mask_id), mask)
        assert codes.code(mask_id) == encode_mask(mask)
        assert codes.box(mask_id) == bounding_box(mask)


def test_a_mask_that_is_not_there_is_named(run):
    codes = MaskCodes.open(run)
    assert [mask_id in codes for mask_id in (0, 1, 99)] == [True, False, False]
    with pytest.raises(RunError, match="No mask 1 in"):
        codes.decode(1)


def test_opened_again_it_does_not_parse_the_file(run, monkeypatch):
    MaskCodes.open(run)
    monkeypatch.setattr("maskdistill.storage.mask_store.read_json", None)
    assert MaskCodes.open(run).box(20) == (3, 4, 5, 6)


def test_masks_made_anew_replace_the_copy(run, masks):
    MaskCodes.open(run)
    write(run.path, {0: masks[20]})
    assert len(MaskCodes.open(run)) == 1
    assert MaskCodes.open(run).box(0) == (3, 4, 5, 6)


def test_a_damaged_copy_is_made_again(run):
    MaskCodes.open(run)
    (run.path / "proposals.arrow").write_bytes(b"torn")
    assert MaskCodes.open(run).box(20) == (3, 4, 5, 6)


def test_where_no_copy_can_be_written_the_masks_are_there_all_the_same(run, monkeypatch):
    def refuse(*_args):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("maskdistill.storage.mask_store.replace_atomically", refuse)
    assert MaskCodes.open(run).box(20) == (3, 4, 5, 6)
    assert not (run.path / "proposals.arrow").exists()


def test_a_run_without_masks_says_which_stage_makes_them(tmp_path):
    with pytest.raises(RunError, match="No candidates.json .*: maskdistill train-stage1"):
        MaskCodes.open(Run(tmp_path), "candidates")


def test_a_run_that_found_no_mask_has_none(run):
    write(run.path, {})
    codes = MaskCodes.open(run)
    assert (len(codes), 0 in codes) == (0, False)


def test_threads_that_read_while_it_is_replaced_see_one_state_or_the_other(tmp_path):
    """A page reads the masks of a run while a command makes them anew."""
    run = Run(tmp_path)
    states = [[annotation(10 * number, number, rectangle(1, 1, 4, 4)) for number in range(count)] for count in (3, 300)]
    expected = [{item["id"]: item["bbox"] for item in items} for items in states]
    stop = threading.Event()

    def read():
        while not stop.is_set():
            codes = MaskCodes.open(run)
            found = {int(mask_id): list(codes.box(mask_id)) for mask_id in codes.ids}
            assert found in expected
            assert codes.code(10)["counts"]

    write_json(run.proposals_path, {"annotations": states[0]})
    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for number in range(40):
            write_json(run.proposals_path, {"annotations": states[number % 2]}, indent=None)
        stop.set()
        for reader in readers:
            reader.result(60)
