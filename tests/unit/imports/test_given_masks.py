"""Masks of every format, matched with photos; what cannot be used is counted with a reason."""

import json

import numpy as np
import pytest
from given_data import (
    HEIGHT,
    MASKS,
    WIDTH,
    box,
    coco,
    draw_photos,
    fiftyone,
    masks_by_photo,
    plain_code,
    ring,
    sam,
    same_masks,
    write,
)
from PIL import Image

from maskdistill.datasets import open_source
from maskdistill.errors import DatasetError
from maskdistill.imports.given_masks import read_given_masks
from maskdistill.masks import encode_mask
from maskdistill.storage.imported_masks import MOST_PER_PHOTO


def reasons(brought):
    return {item["reason"]: item["count"] for item in brought.record["left_out"]}


def polygon(mask):
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, right, top, bottom = cols[0], cols[-1] + 1, rows[0], rows[-1] + 1
    return [[float(value) for value in (left, top, right, top, right, bottom, left, bottom)]]


class TestCoco:
    @pytest.mark.parametrize("shape", [encode_mask, plain_code, lambda mask: [encode_mask(mask)]])
    def test_run_length_codes_of_either_kind(self, source, tmp_path, shape):
        brought = read_given_masks(write(tmp_path / "m.json", coco(shape=shape)), source)
        assert same_masks(masks_by_photo(brought.table), MASKS)
        assert brought.record["format"] == "coco"
        assert sorted(brought.record["categories"]) == ["cup", "plate"]
        assert not brought.record["left_out"]

    def test_polygons_of_several_parts(self, source, tmp_path):
        two = box(1, 1, 5, 5) | box(20, 10, 6, 4)
        content = coco({"a": [two]}, shape=lambda _: [*polygon(box(1, 1, 5, 5)), *polygon(box(20, 10, 6, 4))])
        assert same_masks(
            masks_by_photo(read_given_masks(write(tmp_path / "m.json", content), source).table), {"a": [two]}
        )

    def test_without_categories_and_with_names_of_another_system(self, source, tmp_path):
        content = coco(suffix=".JPG")
        del content["categories"]
        for annotation in content["annotations"]:
            del annotation["category_id"]
        content["images"][2]["file_name"] = r"D:\data\photos\deep\C.jpg"
        brought = read_given_masks(write(tmp_path / "m.json", content), source)
        assert same_masks(masks_by_photo(brought.table), MASKS)
        assert brought.record["categories"] == []

    def test_what_cannot_be_used_is_counted_by_reason(self, source, tmp_path):
        content = coco()
        good = len(content["annotations"])
        more = [
            {"image_id": 7, "segmentation": encode_mask(np.zeros((HEIGHT, WIDTH), bool))},  # no pixel
            {"image_id": 7, "segmentation": encode_mask(MASKS["a"][0])},  # twice
            {"image_id": 7, "segmentation": encode_mask(np.ones((5, 5), bool))},  # another size
            {"image_id": 7, "segmentation": {"size": [HEIGHT, WIDTH], "counts": [5, 4]}},  # does not add up
            {"image_id": 7, "segmentation": [[1e9, 0, 5, 5, 9, 9]]},
            {"image_id": 7, "bbox": [0, 0, 4, 4]},  # a box alone
            {"image_id": 7, "segmentation": encode_mask(box(0, 0, 9, 9)), "iscrowd": 1},
            {"image_id": 99, "segmentation": encode_mask(box(0, 0, 9, 9))},
            {"image_id": 8, "segmentation": "nonsense"},
        ]
        content["annotations"] += more
        brought = read_given_masks(write(tmp_path / "m.json", content), source, crowds=False)
        assert brought.record["masks"] == good
        assert sum(reasons(brought).values()) == len(more)
        assert all(item["first"] for item in brought.record["left_out"])

    def test_crowds_are_taken_and_told_of(self, source, tmp_path):
        content = coco({"a": MASKS["a"]}, iscrowd=1)
        brought = read_given_masks(write(tmp_path / "m.json", content), source)
        assert brought.record["masks"] == 2
        assert "2 masks" in brought.record["notes"][0]

    def test_overlapping_masks_and_one_of_the_whole_photo_stay(self, source, tmp_path):
        masks = {"a": [box(0, 0, 20, 20), box(5, 5, 20, 15), np.ones((HEIGHT, WIDTH), bool)]}
        assert same_masks(
            masks_by_photo(read_given_masks(write(tmp_path / "m.json", coco(masks)), source).table), masks
        )

    def test_a_photo_of_another_size_is_refused_with_the_reason_and_the_others_stay(self, source, tmp_path):
        content = coco()
        content["images"][0]["height"] = 99
        brought = read_given_masks(write(tmp_path / "m.json", content), source)
        assert set(brought.table["photo"]) == {"b", "deep/c"}
        assert list(brought.record["refused"]) == ["a"]
        assert sum(reasons(brought).values()) == 2

    def test_photos_that_are_not_there_and_names_that_fit_several(self, tmp_path):
        for folder in ("x", "y"):
            (tmp_path / "photos" / folder).mkdir(parents=True)
            Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "photos" / folder / "same.png")
        source = open_source(tmp_path / "photos")
        content = coco({"same": [box(0, 0, 4, 4)], "gone": [box(0, 0, 4, 4)], "y/same": [box(1, 1, 4, 4)]})
        brought = read_given_masks(write(tmp_path / "m.json", content), source)
        assert same_masks(masks_by_photo(brought.table), {"y/same": [box(1, 1, 4, 4)]})
        assert sum(reasons(brought).values()) == 2
        assert len(reasons(brought)) == 2

    def test_photos_upright_by_exif_take_masks_of_the_stored_pixels(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        (tmp_path / "photos").mkdir()
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "photos/a.jpg", exif=exif)
        source = open_source(tmp_path / "photos")
        assert (source.photos[0].height, source.photos[0].width) == (WIDTH, HEIGHT)
        brought = read_given_masks(write(tmp_path / "m.json", coco({"a": [box(0, 0, 5, 3)]})), source)
        from maskdistill.masks import decode_mask

        mask = decode_mask({"size": [WIDTH, HEIGHT], "counts": brought.table["counts"][0]})
        assert mask[:5, -3:].all()
        assert mask.sum() == 15


class TestResults:
    def content(self):
        items = coco(score=0.5)["annotations"]
        return [{name: item[name] for name in ("image_id", "category_id", "segmentation", "score")} for item in items]

    def test_ids_stand_for_the_photos_of_a_coco_file(self, source, tmp_path):
        images = write(tmp_path / "gt.json", coco())
        brought = read_given_masks(write(tmp_path / "r.json", self.content()), source, images=images)
        assert same_masks(masks_by_photo(brought.table), MASKS)
        assert brought.record["format"] == "results"
        assert set(brought.table["category"]) == {"cup", "plate"}
        assert set(brought.table["score"]) == {0.5}

    def test_the_photos_own_coco_file_will_do(self, tmp_path):
        draw_photos(tmp_path / "photos")
        write(tmp_path / "photos/labels.json", coco())
        source = open_source(tmp_path / "photos")
        assert source.kind == "coco"
        assert read_given_masks(write(tmp_path / "r.json", self.content()), source).record["masks"] == 4

    def test_without_one_an_id_is_a_name_and_else_the_remedy_is_said(self, source, tmp_path):
        with pytest.raises(DatasetError, match="--images"):
            read_given_masks(write(tmp_path / "r.json", self.content()), source)
        named = [{**item, "image_id": "a"} for item in self.content()[:2]]
        brought = read_given_masks(write(tmp_path / "named.json", named), source)
        assert set(brought.table["photo"]) == {"a"}

    def test_one_category_without_a_name_is_none(self, source, tmp_path):
        named = [{**item, "image_id": "a", "category_id": 1} for item in self.content()[:2]]
        assert read_given_masks(write(tmp_path / "r.json", named), source).record["categories"] == []


class TestSegmentAnything:
    def test_a_folder_with_a_file_a_photo(self, source, tmp_path):
        for name, masks in MASKS.items():
            write(tmp_path / "sam" / f"{name.rpartition('/')[2]}.json", sam(name, masks))
        brought = read_given_masks(tmp_path / "sam", source)
        assert brought.record["format"] == "sam"
        assert same_masks(masks_by_photo(brought.table), MASKS)
        assert brought.table["score"].tolist() == pytest.approx([0.9, 0.8, 0.9, 0.9])

    def test_a_file_that_is_called_otherwise_and_a_bare_list(self, source, tmp_path):
        write(tmp_path / "sam/sa_1.json", sam("a", MASKS["a"]))
        write(tmp_path / "sam/b.json", sam("b", MASKS["b"])["annotations"])
        brought = read_given_masks(tmp_path / "sam", source)
        assert same_masks(masks_by_photo(brought.table), {"a": MASKS["a"], "b": MASKS["b"]})

    def test_more_masks_than_a_photo_may_have_leave_out_those_of_the_lowest_score(self, source, tmp_path):
        masks = [box(x, y, w, 1) for x in range(20) for y in range(24) for w in range(1, 4)][: MOST_PER_PHOTO + 5]
        content = sam("a", masks)
        for place, item in enumerate(content["annotations"]):
            item["predicted_iou"] = 1 - place / 2000
        path = write(tmp_path / "a.json", content)
        brought = read_given_masks(path, source)
        assert len(brought.table) == MOST_PER_PHOTO
        assert sum(reasons(brought).values()) == 5
        assert brought.table["score"].min() == pytest.approx(1 - (MOST_PER_PHOTO - 1) / 2000)
        assert len(read_given_masks(path, source, most=3).table) == 3


class TestYolo:
    def write(self, tmp_path, lines, name="a"):
        (tmp_path / "y/labels/train").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"y/labels/train/{name}.txt").write_text("\n".join(lines))
        (tmp_path / "y/data.yaml").write_text("train: images/train\nnames:\n  0: cup\n  1: 'a plate'\n")
        return tmp_path / "y"

    def line(self, mask, label=0):
        corners = np.array(polygon(mask)[0]).reshape(-1, 2) / (WIDTH, HEIGHT)
        return " ".join([str(label), *(f"{value:.6f}" for value in corners.ravel())])

    def test_outlines_with_and_without_confidence(self, source, tmp_path):
        folder = self.write(tmp_path, [self.line(box(1, 2, 8, 6)), f"{self.line(box(12, 4, 10, 10), 1)} 0.75"])
        brought = read_given_masks(folder, source)
        assert brought.record["format"] == "yolo"
        assert same_masks(masks_by_photo(brought.table), {"a": [box(1, 2, 8, 6), box(12, 4, 10, 10)]})
        assert dict(zip(brought.table["category"], brought.table["score"], strict=True))["a plate"] == 0.75

    @pytest.mark.parametrize(
        "text", ["names: [cup, 'a plate']", "names:\n- cup\n- a plate", "names: {0: cup, 1: a plate}"]
    )
    def test_names_in_every_form_of_yaml(self, source, tmp_path, text):
        folder = self.write(tmp_path, [self.line(box(1, 2, 8, 6), 1)])
        (folder / "data.yaml").write_text(f"nc: 2\n{text}\n")
        assert read_given_masks(folder, source).record["categories"] == ["a plate"]

    def test_boxes_are_counted_and_nonsense_is_refused(self, source, tmp_path):
        self.write(tmp_path, ["0 0.5 0.5 0.2 0.2", self.line(box(1, 2, 8, 6))])
        folder = self.write(tmp_path, ["0 0.1 0.1 0.2 0.2 7.5 0.9"], "b")
        brought = read_given_masks(folder, source)
        assert brought.record["masks"] == 1
        assert sum(reasons(brought).values()) == 2


class TestFiftyOne:
    def test_detections_with_masks_in_their_boxes(self, source, tmp_path):
        write(tmp_path / "f/samples.json", fiftyone())
        brought = read_given_masks(tmp_path / "f", source)
        assert brought.record["format"] == "fiftyone"
        assert same_masks(masks_by_photo(brought.table), MASKS)
        assert set(brought.table["category"]) == {"cup", "plate"}

    def test_polylines_pictures_beside_and_what_has_no_mask(self, source, tmp_path):
        content = fiftyone({"a": []})
        (tmp_path / "f/fields/m").mkdir(parents=True)
        Image.fromarray(np.full((6, 8), 255, np.uint8)).save(tmp_path / "f/fields/m/1.png")
        x, y = 12 / WIDTH, 4 / HEIGHT
        points = [[[x, y], [x + 10 / WIDTH, y], [x + 10 / WIDTH, y + 10 / HEIGHT], [x, y + 10 / HEIGHT]]]
        around = [1 / WIDTH, 2 / HEIGHT, 8 / WIDTH, 6 / HEIGHT]
        content["samples"][0]["more"] = [
            {"_cls": "Polyline", "label": "cup", "points": points, "closed": True, "filled": True},
            {"_cls": "Detection", "bounding_box": around, "mask_path": "fields/m/1.png"},
            {"_cls": "Detection", "bounding_box": around, "mask_path": "../../etc/passwd"},
            {"_cls": "Detection", "bounding_box": around},
        ]
        write(tmp_path / "f/samples.json", content)
        with pytest.raises(DatasetError, match="outside of the export"):
            read_given_masks(tmp_path / "f", source)  # one hostile label costs its photo, which is the only one here
        del content["samples"][0]["more"][2]
        write(tmp_path / "f/samples.json", content)
        brought = read_given_masks(tmp_path / "f", source)
        assert same_masks(masks_by_photo(brought.table), {"a": [box(12, 4, 10, 10), box(1, 2, 8, 6)]})
        assert sum(reasons(brought).values()) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.json", b""),
        ("m.json", b"{"),
        ("m.json", b"[]"),
        ("m.json", b"{}"),
        ("m.json", b"[1, 2]"),
        ("m.json", b"[" * 100_000),
        ("m.json", b'{"images": 5, "annotations": []}'),
        ("m.json", b'{"images": [], "annotations": []}'),
        ("m.json", b'[{"image_id": null, "segmentation": {"counts": 3}}]'),
        ("m.json", b'{"samples": 3}'),
        ("m.json", b'{"samples": [{"filepath": "a.png", "d": {"_cls": "Detection", "mask": "%%"}}]}'),
        ("m.png", b"no picture"),
        ("m.txt", b"a 0.1 0.2"),
        ("m.zip", b"PK\3\4"),
        ("a.png", b"\x89PNG\r\n\x1a\n cut off"),
        ("a.txt", b"0 nan nan nan nan nan nan"),
        ("a.txt", b"\0\1\2"),
    ],
)
def test_nonsense_gets_a_sentence_that_names_the_file(source, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError) as error:
        read_given_masks(tmp_path / name, source)
    assert str(tmp_path / name) in str(error.value)


def test_nothing_there_and_a_folder_of_nothing(source, tmp_path):
    with pytest.raises(DatasetError, match="nothing at"):
        read_given_masks(tmp_path / "gone", source)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no file"):
        read_given_masks(tmp_path / "empty", source)


class TestScores:
    @pytest.mark.parametrize(("given", "wanted"), [((0.2, 0.9), (0.2, 0.9)), ((20, 90), (0.2, 0.9)), ((-5, 5), (0, 1))])
    def test_they_end_up_in_0_to_1(self, source, tmp_path, given, wanted):
        content = coco({"a": MASKS["a"]})
        for item, score in zip(content["annotations"], given, strict=True):
            item["score"] = score
        brought = read_given_masks(write(tmp_path / "m.json", content), source)
        assert sorted(brought.table["score"]) == pytest.approx(sorted(wanted))
        assert (brought.record["scores"] == "as given") == (given == wanted)

    def test_masks_without_one_have_none(self, source, tmp_path):
        brought = read_given_masks(write(tmp_path / "m.json", coco()), source)
        assert brought.table["score"].isna().all()


class TestAgain:
    def test_masks_that_were_there_keep_their_places(self, source, tmp_path):
        first = {"a": [box(1, 1, 6, 6), box(12, 1, 8, 8), ring(12, 10, 10)]}
        before = read_given_masks(write(tmp_path / "1.json", coco(first)), source).table
        later = {"a": [box(20, 18, 9, 5), ring(12, 10, 10), box(1, 1, 6, 7)]}  # new, the same, nearly the same
        after = read_given_masks(write(tmp_path / "2.json", coco(later)), source, before=before).table
        places = dict(zip(after["place"], masks_by_photo(after)["a"], strict=True))
        assert (places[2] == ring(12, 10, 10)).all()
        assert (places[0] == box(1, 1, 6, 7)).all()
        assert (places[1] == box(20, 18, 9, 5)).all()
        assert after["place"].is_monotonic_increasing

    def test_the_same_file_gives_the_same_digest(self, source, tmp_path):
        path = write(tmp_path / "m.json", coco())
        first = read_given_masks(path, source)
        again = read_given_masks(path, source, before=first.table)
        assert first.record["digest"] == again.record["digest"]
        path.write_text(json.dumps(coco({"a": MASKS["a"]})))
        assert read_given_masks(path, source).record["digest"] != first.record["digest"]
