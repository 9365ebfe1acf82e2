"""The published archives in small, and unpacked folders, laid out as the readers take them."""

import json

import numpy as np
import pytest
from small_published import (
    AUG,
    DROPPED,
    TRAIN,
    VAL,
    coco_files,
    voc_files,
    write_tar,
    write_trainaug,
    write_zip,
)
from tiny_run import draw_photo

from maskdistill.datasets import open_source, read_label, read_objects
from maskdistill.errors import DatasetError
from maskdistill.reproduce.layout import folder_members, lay_out_coco, lay_out_voc, tar_members, zip_members


def unpack(files, folder):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def voc_members(kind, folder):
    if kind == "folder":
        return folder_members(unpack(voc_files(), folder / "VOC2012"))
    write_tar(folder / "voc.tar", voc_files())
    return tar_members(folder / "voc.tar", "VOCdevkit/VOC2012")


@pytest.mark.parametrize("kind", ["tar", "folder"])
@pytest.mark.parametrize("with_list", [True, False])
def test_voc_with_trainaug_trains_on_its_photos_and_keeps_val(tmp_path, kind, with_list):
    trainaug = write_trainaug(tmp_path / "aug", with_list)
    laid = lay_out_voc(voc_members(kind, tmp_path), tmp_path / "out", trainaug, quiet=True)
    assert (laid.num_train, laid.num_val) == (8, 3)
    assert "8 photos here, 10,582 as published" in laid.note
    source = open_source(tmp_path / "out")
    splits = {photo.id: photo.split for photo in source.photos}
    assert splits == {f"{n:02d}": "val" if n in VAL else "train" for n in (*TRAIN, *AUG, *VAL)}  # none of no list
    assert source.has_labels
    for photo in source.photos:
        np.testing.assert_array_equal(read_label(source, photo), draw_photo(int(photo.id))[1])


def test_voc_without_trainaug_says_that_it_is_not_the_papers(tmp_path):
    laid = lay_out_voc(voc_members("tar", tmp_path), tmp_path / "out", None, quiet=True)
    assert (laid.num_train, laid.num_val) == (3, 3)
    assert "--trainaug" in laid.note
    assert not (tmp_path / "out" / f"JPEGImages/{DROPPED}.png").exists()


def test_voc_is_laid_out_once(tmp_path):
    members = voc_members("tar", tmp_path)
    lay_out_voc(members, tmp_path / "out", None, quiet=True)
    (tmp_path / "out/JPEGImages/00.png").unlink()
    lay_out_voc(members, tmp_path / "out", None, quiet=True)
    assert not (tmp_path / "out/JPEGImages/00.png").exists()  # nothing was looked through again
    lay_out_voc(members, tmp_path / "out", write_trainaug(tmp_path / "aug", False), quiet=True)
    assert (tmp_path / "out/JPEGImages/00.png").exists()


@pytest.mark.parametrize("gone", ["ImageSets/Segmentation/val.txt", "JPEGImages/01.png"])
def test_voc_that_lacks_something_is_refused(tmp_path, gone):
    files = voc_files()
    del files[gone]
    write_tar(tmp_path / "voc.tar", files)
    members = tar_members(tmp_path / "voc.tar", "VOCdevkit/VOC2012")
    with pytest.raises(DatasetError, match=r"Give VOC 2012 as it is published"):
        lay_out_voc(members, tmp_path / "out", None, quiet=True)


@pytest.mark.parametrize("there", [True, False])
def test_folder_that_is_no_trainaug_is_refused(tmp_path, there):
    if there:
        (tmp_path / "aug").mkdir()
    with pytest.raises(DatasetError, match="Wanted the label maps of trainaug"):
        lay_out_voc(voc_members("tar", tmp_path), tmp_path / "out", tmp_path / "aug", quiet=True)


def test_folder_of_links_to_folders_is_looked_through_and_a_circle_ends(tmp_path):
    unpack(voc_files(), tmp_path / "there")
    (tmp_path / "here").mkdir()
    for name in ("JPEGImages", "SegmentationClass", "ImageSets"):
        (tmp_path / "here" / name).symlink_to(tmp_path / "there" / name)
    (tmp_path / "there/ImageSets/round").symlink_to(tmp_path / "there")
    laid = lay_out_voc(folder_members(tmp_path / "here"), tmp_path / "out", None, quiet=True)
    assert (laid.num_train, laid.num_val) == (3, 3)
    with pytest.raises(DatasetError, match=r"No folder .*nowhere"):
        folder_members(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"no archive", b""])
def test_damaged_archives_are_named(tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DatasetError, match=r"a\.tar"):
        tar_members(tmp_path / "a.tar", "VOCdevkit/VOC2012")
    with pytest.raises(DatasetError, match=r"a\.tar"):
        zip_members(tmp_path / "a.tar")


def write_coco(folder, kind):
    photos, annotations, names = coco_files()
    (folder / "names.txt").write_text(names)
    if kind == "folder":
        members = folder_members(unpack(photos | annotations, folder / "coco"))
        return members, members, folder / "names.txt"
    write_zip(folder / "photos.zip", photos)
    write_zip(folder / "annotations.zip", annotations)
    return zip_members(folder / "photos.zip"), zip_members(folder / "annotations.zip"), folder / "names.txt"


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_coco_holds_the_listed_photos_and_their_objects(tmp_path, kind):
    laid = lay_out_coco(*write_coco(tmp_path, kind), tmp_path / "out", quiet=True)
    assert (laid.num_train, laid.num_val) == (8, 0)
    assert "8 photos, 19,817 as published" in laid.note
    source = open_source(tmp_path / "out")
    assert len(source.photos) == 8
    assert source.skipped == ()
    for number, photo in enumerate(source.photos):
        ((mask, _),) = read_objects(source, photo)
        np.testing.assert_array_equal(mask, draw_photo(number)[1] > 0)


def test_photo_of_the_list_that_is_not_there_is_named(tmp_path):
    photos, annotations, names = write_coco(tmp_path, "zip")
    names.write_text(names.read_text() + "train2014/COCO_train2014_000000000099.png\n")
    with pytest.raises(DatasetError, match="knows no 'COCO_train2014_000000000099"):
        lay_out_coco(photos, annotations, names, tmp_path / "out", quiet=True)


def test_coco_json_of_the_list_keeps_the_categories(tmp_path):
    lay_out_coco(*write_coco(tmp_path, "zip"), tmp_path / "out", quiet=True)
    content = json.loads((tmp_path / "out/annotations/instances_train2014.json").read_text())
    assert (len(content["images"]), len(content["annotations"]), len(content["categories"])) == (8, 8, 3)
