import json
import os
from dataclasses import replace

import numpy as np
import pytest
import yaml
from export_data import HEIGHT, NAMES, WIDTH, label_map, load_coco, make_data, make_image, make_mask, save_photo
from PIL import Image

from maskdistill.datasets import open_source, read_label
from maskdistill.errors import ConfigError, DatasetError, ShapeError
from maskdistill.exports.coco import export_coco
from maskdistill.exports.folder import MARKER
from maskdistill.exports.huggingface import export_huggingface
from maskdistill.exports.names import clean_class_names, portable_stems
from maskdistill.exports.records import ExportImage
from maskdistill.exports.voc import export_voc
from maskdistill.exports.yolo import export_yolo
from maskdistill.masks import encode_mask


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path)


@pytest.mark.parametrize("export", [export_coco, export_yolo])
def test_no_masks_at_all(tmp_path, data, export):
    summary = export(tmp_path / "out", data[0], [], [])
    assert (summary.num_images, summary.num_masks) == (3, 0)
    if export is export_coco:
        assert load_coco(tmp_path / "out/annotations/instances.json").anns == {}
    else:
        assert (tmp_path / "out/labels/train/a.txt").read_text() == ""


@pytest.mark.parametrize("export", [export_coco, export_yolo])
def test_empty_masks_are_left_out(tmp_path, data, export):
    empty = make_mask(7, 1, np.zeros((HEIGHT, WIDTH), bool))
    assert export(tmp_path / "out", data[0], [*data[1], empty], NAMES).num_masks == 3


@pytest.mark.parametrize("export", [export_coco, export_yolo])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"label": 3}, ConfigError, "Mask 0 has class 3, wanted 1 to 2"),
        ({"label": 0}, ConfigError, "Mask 0 has class 0, wanted 1 to 2"),
        ({"image": 9}, ConfigError, "Mask 0 belongs to photo 9, which is not among"),
        ({"id": 1}, ConfigError, "Two masks have the id 1"),
        ({"code": encode_mask(np.ones((5, 6), bool))}, ShapeError, r"Mask 0 must have shape \(40, 56\).*got \(5, 6\)"),
    ],
)
def test_masks_that_do_not_fit(tmp_path, data, export, change, error, message):
    images, masks = data
    with pytest.raises(error, match=message):
        export(tmp_path / "out", images, [replace(masks[0], **change), *masks[1:]], NAMES)
    assert not (tmp_path / "out").exists()


def write(kind, out, data, images=None, **options):
    images = data[0] if images is None else images
    if kind == "voc":
        return export_voc(out, images, label_map, NAMES, **options)
    if kind == "huggingface":
        options.pop("photos", None)  # they are within its files
        return export_huggingface(out, images, data[1], NAMES, label_map, **options)
    return {"coco": export_coco, "yolo": export_yolo}[kind](out, images, data[1], NAMES, **options)


KINDS = ["coco", "voc", "yolo", "huggingface"]


@pytest.mark.parametrize("kind", KINDS)
def test_photos_that_do_not_fit(tmp_path, data, kind):
    with pytest.raises(ConfigError, match="no photo to export"):
        write(kind, tmp_path / "out", data, images=[])
    with pytest.raises(ConfigError, match="2 photos have the number 0"):
        write(kind, tmp_path / "out", data, images=[data[0][0], replace(data[0][1], number=0)])
    with pytest.raises(ConfigError, match="2 photos have the id a"):
        write(kind, tmp_path / "out", data, images=[data[0][0], replace(data[0][1], id="a")])


@pytest.mark.parametrize("kind", KINDS)
def test_folder_of_somebody_else_is_refused(tmp_path, data, kind):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"is not empty and no export has written it: it holds thesis\.txt"):
        write(kind, out, data)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]
    with pytest.raises(ConfigError, match=r"thesis\.txt is a file, wanted a folder"):
        write(kind, out / "thesis.txt", data)


@pytest.mark.parametrize("kind", KINDS)
def test_empty_folder_is_taken(tmp_path, data, kind):
    (tmp_path / "out").mkdir()
    assert write(kind, tmp_path / "out", data).num_images == 3


def content_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_exporting_again_leaves_nothing_of_the_first(tmp_path, data, kind):
    out = tmp_path / "out"
    for other in KINDS:
        write(other, out, data)
        (out / "notes.txt").write_text("mine")
        write(kind, out, data, images=data[0][1:] if kind == "voc" else data[0])
        again = content_of(out)
        assert again.pop("notes.txt") == b"mine"
        write(kind, tmp_path / "new", data, images=data[0][1:] if kind == "voc" else data[0])
        assert again == content_of(tmp_path / "new")
    for image in data[0]:
        assert Image.open(image.path).size == (WIDTH, HEIGHT)  # links were removed, not what they lead to


def test_file_of_somebody_else_in_an_export_is_not_replaced(tmp_path, data):
    out = tmp_path / "out"
    export_coco(out, *data, NAMES)
    (out / "data.yaml").write_text("mine")
    before = content_of(out)
    with pytest.raises(ConfigError, match=r"would replace .*data\.yaml, which no export has written"):
        export_yolo(out, *data, NAMES)
    assert content_of(out) == before


def test_export_that_was_cut_short_is_replaced(tmp_path, data):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_yolo(tmp_path / "out", *data, NAMES, on_progress=stop)
    assert not json.loads((tmp_path / "out" / MARKER).read_text())["complete"]
    export_voc(tmp_path / "out", data[0], label_map, NAMES)
    assert json.loads((tmp_path / "out" / MARKER).read_text())["complete"]
    assert not (tmp_path / "out" / "labels").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"files": [3]}', '{"files": ["../data/a.jpg"]}'])
def test_damaged_marker_removes_nothing(tmp_path, data, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / MARKER).write_text(content)
    with pytest.raises(ConfigError, match="is damaged|names files outside"):
        export_coco(tmp_path / "out", *data, NAMES)
    assert data[0][0].path.is_file()


@pytest.mark.parametrize("kind", KINDS)
def test_unreadable_photo_is_left_out(tmp_path, data, kind):
    images = list(data[0])
    images[0].path.write_bytes(b"no picture")
    save_photo(images[2].path, size=(8, 8))
    summary = write(kind, tmp_path / "out", data, photos="link")
    assert summary.num_images == 1
    assert "2 photos were left out. The first: Cannot read" in summary.sentence
    images[1].path.unlink()
    with pytest.raises(DatasetError, match="None of the 3 photos can be read"):
        write(kind, tmp_path / "out", data, photos="link")


@pytest.mark.parametrize("kind", KINDS)
def test_photo_that_proves_damaged_while_being_saved_is_left_out(tmp_path, data, kind):
    lying = make_image(tmp_path, 3, "lying", size=(HEIGHT, WIDTH), orientation=6, suffix=".png")
    content = bytearray(lying.path.read_bytes())
    middle = content.index(b"IDAT") + 40
    content[middle : middle + 200] = b"\0" * 200
    lying.path.write_bytes(content)
    summary = write(kind, tmp_path / "out", data, images=[*data[0], lying], photos="copy")
    assert summary.num_images == 3
    assert "1 photos were left out" in summary.sentence
    assert not any("lying" in path.name for path in (tmp_path / "out").rglob("*"))


def refuse(*_args, **_options):
    raise OSError("a required privilege is not held by the client")


@pytest.mark.parametrize(
    ("mode", "refused", "linked", "symbolic"),
    [
        ("link", [], True, False),
        ("link", ["link"], True, True),
        ("link", ["link", "symlink"], False, False),
        ("copy", [], False, False),
    ],
)
def test_links_and_copies(tmp_path, data, monkeypatch, mode, refused, linked, symbolic):
    for name in refused:
        monkeypatch.setattr(os, name, refuse)
    export_yolo(tmp_path / "out", *data, NAMES, photos=mode)
    placed, source = tmp_path / "out/images/train/a.jpg", data[0][0].path
    assert placed.samefile(source) == linked
    assert placed.is_symlink() == symbolic
    assert placed.read_bytes() == source.read_bytes()


def test_linked_photo_that_is_itself_a_link(tmp_path, data):
    link = tmp_path / "shortcut.jpg"
    link.symlink_to(os.path.relpath(data[0][0].path, tmp_path))
    export_yolo(tmp_path / "out", [replace(data[0][0], path=link)], [], NAMES)
    assert not (tmp_path / "out/images/train/a.jpg").is_symlink()
    assert (tmp_path / "out/images/train/a.jpg").samefile(link)


@pytest.mark.parametrize("kind", KINDS)
def test_progress_counts_photos(tmp_path, data, kind):
    seen = []
    write(kind, tmp_path / "out", data, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def stems(*ids):
    images = [ExportImage(number, id, None, "", 1, 1) for number, id in enumerate(ids)]
    return list(portable_stems(images).values())


def test_stems_are_unique_and_portable():
    assert stems("x/1", "y/2") == ["1", "2"]
    assert stems("x/1", "y/1", "z/2") == ["x__1", "y__1", "2"]
    assert stems("Cow", "x/cow") == ["Cow", "x__cow"]  # one file on Windows and macOS
    assert stems("a b", "a_b", "a.b") == ["a_b", "a_b_2", "a_b_3"]
    assert stems("1", "x/1", "x__1") == ["1", "x__1_2", "x__1"]
    assert stems("kuh.jpg", "Kühe-1_ä", "猫", "a\udcffb", 'q:"?*<>|') == [
        "kuh_jpg",
        "Kühe-1_ä",
        "猫",
        "a_b",
        "q_______",
    ]
    assert stems("con", "Lpt1", "nul.txt", ".") == ["con_", "Lpt1_", "nul_txt", "_"]
    assert len(stems("ö" * 300)[0].encode()) == 200


def test_photos_of_one_name_in_two_folders(tmp_path):
    images = [make_image(tmp_path, 0, "x/1"), make_image(tmp_path, 1, "y/1"), make_image(tmp_path, 2, "my cow")]
    summary = export_voc(tmp_path / "out", images, label_map, NAMES)
    assert "3 photos go by another name, to be unique or portable, as 'x/1' by 'x__1'." in summary.sentence
    source = open_source(tmp_path / "out")
    assert [(photo.id, photo.split) for photo in source.photos] == [
        ("my_cow", "train"),
        ("x__1", "train"),
        ("y__1", "train"),
    ]
    for photo, number in zip(source.photos, (2, 0, 1), strict=True):
        assert photo.path.read_bytes() == images[number].path.read_bytes()
        np.testing.assert_array_equal(read_label(source, photo), label_map(images[number]))


def test_class_names_stay_one_line_and_different():
    names, notes = clean_class_names(["cow", "", " two\nlines\t\x7f", "Cow", "cow", "Kühe 🐄"])
    assert names == ("cow", "class 2", "two lines", "Cow (2)", "cow (3)", "Kühe 🐄")
    assert "4 class names were changed" in notes[0]
    assert clean_class_names(["cow", "sheep"]) == (("cow", "sheep"), ())


def test_odd_class_names_come_back_from_every_format(tmp_path, data):
    odd = ["\u2028null: yes", "- 'a'"]
    export_coco(tmp_path / "coco", *data, odd)
    export_yolo(tmp_path / "yolo", *data, odd)
    export_voc(tmp_path / "voc", data[0], label_map, odd)
    wanted = ["null: yes", "- 'a'"]
    coco = load_coco(tmp_path / "coco/annotations/instances.json")
    assert [item["name"] for item in coco.loadCats([1, 2])] == wanted
    assert list(yaml.safe_load((tmp_path / "yolo/data.yaml").read_text(encoding="utf-8"))["names"].values()) == wanted
    assert open_source(tmp_path / "voc").classes == tuple(wanted)
