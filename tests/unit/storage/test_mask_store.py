import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from whole_tables import write_whole_table

from maskdistill.errors import RunError
from maskdistill.files import write_json
from maskdistill.masks import bounding_box, encode_mask
from maskdistill.storage.mask_store import MaskCodes, read_masks
from maskdistill.storage.read_files import DamagedFileError
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


def write_photos(folder, count, height=20):
    photos = pd.DataFrame({"id": [f"{n}" for n in range(count)], "digest": "x", "height": height, "width": 30})
    write_whole_table(folder / "images.parquet", photos)


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


@pytest.mark.parametrize(
    "code",
    [
        {"counts": "00"},
        {"counts": ""},
        {"counts": "Zz~"},
        {"counts": "ö0"},
        {"counts": "0" * 5000},
        {"size": [30, 20]},  # adds up all the same
        {"size": [20, 31]},
        {"size": [2**31 - 1, 2**31 - 1]},
    ],
)
@pytest.mark.parametrize("which", ["proposals", "candidates"])
def test_codes_that_are_wrong_are_refused_with_file_and_command_before_any_is_painted(run, masks, which, code):
    write_photos(run.path, 3)
    items = [annotation(mask_id, mask_id // 10, mask) for mask_id, mask in masks.items()]
    items[1]["segmentation"] |= code
    (run.path / f"{which}.json").write_text(json.dumps({"annotations": items}))
    with pytest.raises(DamagedFileError, match=rf"{which}\.json is damaged \(mask 0.*maskdistill \w") as caught:
        MaskCodes.open(run, which)
    assert caught.value.stage == which
    with pytest.raises(DamagedFileError):
        read_masks(run.path / f"{which}.json")


def test_mask_of_no_photo_is_refused(run):
    write_photos(run.path, 2)
    with pytest.raises(DamagedFileError, match=r"mask 20 is of no photo"):
        MaskCodes.open(run)


def test_table_of_other_photos_is_noticed_although_the_copy_is_there(run):
    write_photos(run.path, 3)
    MaskCodes.open(run)
    write_photos(run.path, 3, height=21)
    with pytest.raises(DamagedFileError, match=r"20 x 30 pixels, its photo 21 x 30"):
        MaskCodes.open(run)


def test_masks_of_a_round_are_compared_with_the_photos_of_its_run(run, masks):
    write_photos(run.path, 3)
    (run.path / "run.json").write_text("{}")
    folder = run.path / "rounds" / "1"
    folder.mkdir(parents=True)
    items = [annotation(mask_id, mask_id // 10, mask.T) for mask_id, mask in masks.items()]
    (folder / "candidates.json").write_text(json.dumps({"annotations": items}))
    with pytest.raises(DamagedFileError, match=r"rounds/1/candidates\.json .*'rounds' makes it anew"):
        MaskCodes.open(Run(folder), "candidates")


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
