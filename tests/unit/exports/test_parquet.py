"""The two formats that are Parquet files: of photos for ``datasets``, of masks for Embedding Atlas."""

import io
import json

import numpy as np
import pytest
from export_data import HEIGHT, NAMES, WIDTH, decode, label_map, make_data, make_image, make_mask, ring_and_dot
from PIL import Image
from pyarrow import parquet

from maskdistill.errors import ConfigError, RunError
from maskdistill.exports.atlas import export_atlas
from maskdistill.exports.huggingface import export_huggingface
from maskdistill.exports.run import export_run
from maskdistill.review.decisions import Action, Mark, Scope, decide
from maskdistill.review.mask_table import read_mask_table
from maskdistill.storage.run_folder import Run


def picture(cell):
    return np.asarray(Image.open(io.BytesIO(cell["bytes"])))


def test_masks_and_label_maps_come_back_from_parquet(tmp_path):
    images, masks = make_data(tmp_path)
    summary = export_huggingface(
        tmp_path / "out", images, masks, NAMES, lambda image: None if image.number == 2 else label_map(image)
    )
    assert (summary.num_images, summary.num_masks) == (3, 3)
    assert summary.files == ("data/train-00000-of-00001.parquet",)
    table = parquet.read_table(tmp_path / "out" / summary.files[0])
    rows = {row["image_id"]: row for row in table.to_pylist()}
    assert list(rows) == ["a", "b", "c"]
    for image in images:
        row, mine = rows[image.id], [mask for mask in masks if mask.image == image.number]
        assert row["image"]["bytes"] == image.path.read_bytes()
        assert (row["height"], row["width"]) == (HEIGHT, WIDTH)
        assert row["objects"]["mask_id"] == [mask.id for mask in mine]
        assert row["objects"]["category"] == [mask.label for mask in mine]
        assert row["objects"]["kept"] == [mask.kept for mask in mine]
        for mask, cell in zip(mine, row["objects"]["mask"], strict=True):
            np.testing.assert_array_equal(picture(cell), decode(mask.code))
    np.testing.assert_array_equal(picture(rows["b"]["label_map"]), label_map(images[1]))
    assert rows["c"]["label_map"] is None


def test_what_datasets_makes_of_the_columns_is_in_the_file(tmp_path):
    images, masks = make_data(tmp_path)
    export_huggingface(tmp_path / "out", images, masks, NAMES, label_map)
    schema = parquet.read_schema(tmp_path / "out" / "data/train-00000-of-00001.parquet")
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features.keys() == set(schema.names)
    assert features["image"] == {"_type": "Image"}
    names = features["objects"]["category"]["feature"]["names"]
    assert names == ["background", *NAMES]


def test_splits_are_files_and_stand_in_the_card(tmp_path):
    images = [
        make_image(tmp_path, number, id, split=split)
        for number, (id, split) in enumerate([("a", "train"), ("b", "val"), ("c", None)])
    ]
    masks = [make_mask(0, 1, ring_and_dot()), make_mask(1, 1, np.zeros((HEIGHT, WIDTH), bool))]
    summary = export_huggingface(tmp_path / "out", images, masks, NAMES, label_map)
    assert summary.num_masks == 1  # the other one is empty
    card = (tmp_path / "out" / "README.md").read_text()
    for split, id in (("train", "a"), ("val", "b"), ("other", "c")):
        file = f"data/{split}-00000-of-00001.parquet"
        assert f"- split: {split}\n    path: {file}" in card
        assert parquet.read_table(tmp_path / "out" / file)["image_id"].to_pylist() == [id]


def test_many_photos_are_written_in_groups(tmp_path):
    images = [make_image(tmp_path, number, f"{number:02d}") for number in range(35)]
    export_huggingface(tmp_path / "out", images, [], NAMES, label_map)
    file = parquet.ParquetFile(tmp_path / "out" / "data/train-00000-of-00001.parquet")
    assert [file.metadata.row_group(place).num_rows for place in range(file.num_row_groups)] == [32, 3]


def test_map_has_a_row_a_mask_with_its_place_and_picture(finished, tmp_path):
    run = finished[0]
    said = export_run(run, "atlas", tmp_path / "out")
    assert "principal components" in said
    table = parquet.read_table(tmp_path / "out" / "masks.parquet").to_pandas()
    clusters = run.clusters().set_index("mask_id")
    assert sorted(table["id"]) == sorted(clusters.index)
    assert np.isfinite(table[["x", "y"]].to_numpy()).all()
    assert (table["cluster"].to_numpy() == clusters.loc[table["id"], "cluster"].to_numpy()).all()
    assert set(table["decision"]) == {"undecided"}
    for mask_id, cell in zip(table["id"], table["image"], strict=True):
        assert cell["bytes"] == run.thumbnail(mask_id).read_bytes()


def test_map_knows_what_people_decided_and_what_is_kept(finished, tmp_path):
    import shutil

    shutil.copytree(finished[0].path, tmp_path / "run")
    run = Run(tmp_path / "run")
    first, second = run.clusters()["mask_id"].tolist()[:2]
    table = read_mask_table(run).frame.set_index("mask_id", drop=False)
    marks = [
        Mark(id, table.at[id, "image_id"], tuple(int(table.at[id, name]) for name in "xywh"), action)
        for id, action in ((first, Action.ACCEPT), (second, Action.REJECT))
    ]
    decide(run, "ada", marks, scope=Scope.LABELS)
    export_atlas(run, tmp_path / "out")
    table = parquet.read_table(tmp_path / "out" / "masks.parquet").to_pandas().set_index("id")
    assert table.loc[first, ["decision", "decided_by"]].tolist() == ["accepted", "ada"]
    assert table.loc[second, "decision"] == "rejected"
    export_atlas(run, tmp_path / "out", kept_only=True)
    kept = parquet.read_table(tmp_path / "out" / "masks.parquet").to_pandas()
    assert kept["kept"].all()
    assert 0 < len(kept) < len(table)


def test_map_needs_clusters(finished, tmp_path):
    with pytest.raises(RunError, match="no clusters yet"):
        export_atlas(Run(tmp_path), tmp_path / "out")
    with pytest.raises(ConfigError, match="coco or yolo"):
        export_run(finished[0], "atlas", tmp_path / "out", what="instances")
