"""Masks in pictures beside the photos."""

import numpy as np
from given_data import HEIGHT, MASKS, WIDTH, box, masks_by_photo, same_masks
from PIL import Image

from maskdistill.imports.given_masks import read_given_masks


class TestPictures:
    def save(self, path, pixels, palette=None):
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(pixels)
        if palette is not None:
            image = image.convert("P") if image.mode != "L" else image
            image.putpalette(palette)
        image.save(path)

    def test_a_binary_picture_is_one_mask_whatever_its_pieces(self, source, tmp_path):
        two = box(1, 1, 5, 5) | box(20, 10, 6, 4)
        self.save(tmp_path / "m/a.png", np.where(two, 255, 0).astype(np.uint8))
        self.save(tmp_path / "m/b_mask.png", box(0, 0, 4, 4).astype(np.uint8))
        self.save(tmp_path / "m/deep/c.png", box(2, 2, 4, 4))
        brought = read_given_masks(tmp_path / "m", source)
        assert brought.record["format"] == "png"
        assert same_masks(
            masks_by_photo(brought.table), {"a": [two], "b": [box(0, 0, 4, 4)], "deep/c": [box(2, 2, 4, 4)]}
        )

    def test_each_value_of_a_palette_is_a_mask_and_255_none(self, source, tmp_path):
        from maskdistill.pseudo_labels.label_maps import write_label_png

        pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
        pixels[2:8, 2:8], pixels[2:8, 10:20], pixels[12:20, 2:8] = 1, 2, 255
        (tmp_path / "m").mkdir()
        write_label_png(tmp_path / "m/a.png", pixels)
        wanted = [pixels == 1, pixels == 2]
        assert same_masks(masks_by_photo(read_given_masks(tmp_path / "m", source).table), {"a": wanted})

    def test_each_color_is_a_mask(self, source, tmp_path):
        pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        pixels[2:8, 2:8], pixels[12:20, 2:8] = (9, 200, 3), (9, 200, 4)
        self.save(tmp_path / "m/a.png", pixels)
        found = masks_by_photo(read_given_masks(tmp_path / "m/a.png", source).table)
        assert same_masks(found, {"a": [box(2, 2, 6, 6), box(2, 12, 6, 8)]})

    def test_a_folder_a_photo_as_segment_anything_writes_it(self, source, tmp_path):
        for place, mask in enumerate(MASKS["a"]):
            self.save(tmp_path / f"m/a/{place}.png", np.where(mask, 255, 0).astype(np.uint8))
        header = "id,area,bbox_x0,bbox_y0,bbox_w,bbox_h,predicted_iou,stability_score"
        (tmp_path / "m/a/metadata.csv").write_text(f"{header}\n0,48,1,2,8,6,0.7,0.9\n1,60,12,4,10,10,0.9,0.9\n")
        brought = read_given_masks(tmp_path / "m", source)
        assert same_masks(masks_by_photo(brought.table), {"a": MASKS["a"]})
        assert brought.table["score"].tolist() == [0.9, 0.7]  # best first

    def test_another_size_and_smoothed_borders_are_refused(self, source, tmp_path):
        self.save(tmp_path / "m/a.png", np.full((9, 9), 255, np.uint8))
        soft = np.random.default_rng(0).choice(np.arange(0, 255, 2), (HEIGHT, WIDTH)).astype(np.uint8)
        self.save(tmp_path / "m/b.png", soft)
        self.save(tmp_path / "m/c.png", np.where(box(1, 1, 5, 5), 255, 0).astype(np.uint8))
        brought = read_given_masks(tmp_path / "m", source)
        assert set(brought.table["photo"]) == {"deep/c"}
        assert set(brought.record["refused"]) == {"a", "b"}

    def test_voc_tells_objects_apart_where_it_says_which_is_which(self, source, tmp_path):
        from maskdistill.pseudo_labels.label_maps import write_label_png

        kinds, objects = np.zeros((2, HEIGHT, WIDTH), np.uint8)
        kinds[2:8, 2:20], objects[2:8, 2:8], objects[2:8, 8:20] = 2, 1, 2
        for folder, pixels in (("SegmentationClass", kinds), ("SegmentationObject", objects)):
            (tmp_path / "voc" / folder).mkdir(parents=True)
            write_label_png(tmp_path / "voc" / folder / "a.png", pixels)
        (tmp_path / "voc/classes.txt").write_text("background\ncup\nplate\n")
        brought = read_given_masks(tmp_path / "voc", source)
        assert same_masks(masks_by_photo(brought.table), {"a": [objects == 1, objects == 2]})
        assert set(brought.table["category"]) == {"plate"}
