"""A first try with a photo or two: one sentence says what is missing, in numbers that somebody typed or sees."""

import dataclasses

import pytest
from tiny_run import draw_photo, run_chain, tiny_config

from maskdistill.config import ClusterConfig
from maskdistill.errors import MaskDistillError
from maskdistill.storage.run_folder import Run


def draw_photos(folder, count):
    folder.mkdir()
    for number in range(count):
        draw_photo(number)[0].save(folder / f"{number}.png")
    return folder


def config_of(folder, num_classes, *settings):
    config = dataclasses.replace(tiny_config(folder), clusters=ClusterConfig(num_classes=num_classes, num_rounds=6))
    return config.with_overrides(["proposals.num_objects=1", "predictions.crf=false", *settings])


def test_one_mask_cannot_be_grouped(tmp_path):
    with pytest.raises(MaskDistillError, match="1 mask .* Add photos"):
        run_chain(tmp_path / "run", draw_photos(tmp_path / "data", 1), config_of(tmp_path, 0))
    assert len(Run(tmp_path / "run").masks()) == 1


@pytest.mark.parametrize("count", [2, 3, 9])
def test_too_few_masks_to_choose_a_number_of_classes(tmp_path, count):
    with pytest.raises(MaskDistillError, match=r"at least 10 .*clusters\.num_classes.*add photos"):
        run_chain(tmp_path / "run", draw_photos(tmp_path / "data", count), config_of(tmp_path, 0))


def test_more_classes_than_masks(tmp_path):
    with pytest.raises(MaskDistillError, match=r"num_classes is 5, but there are 3 masks"):
        run_chain(tmp_path / "run", draw_photos(tmp_path / "data", 3), config_of(tmp_path, 5))


@pytest.mark.parametrize("count", [2, 3])
def test_two_classes_of_as_few_masks_go_the_whole_way(tmp_path, count):
    said = run_chain(tmp_path / "run", draw_photos(tmp_path / "data", count), config_of(tmp_path, 2))
    assert "evaluation" in said


def test_photos_that_all_turn_out_to_be_damaged(tmp_path):
    """Their headers are sound, so that nothing shows before they are decoded."""
    for path in draw_photos(tmp_path / "data", 3).iterdir():
        content = bytearray(path.read_bytes())
        content[200:400] = bytes(200)
        path.write_bytes(content)
    with pytest.raises(MaskDistillError, match=r"No photo .* has a mask.* 0: .*0\.png.*damaged"):
        run_chain(tmp_path / "run", tmp_path / "data", config_of(tmp_path, 2))
    assert Run(tmp_path / "run").masks().empty
