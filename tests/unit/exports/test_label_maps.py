"""Label maps that a run exports: painted from masks, pseudo-labels and predictions."""

import numpy as np
from run_to_export import DRAWN, HEIGHT, PROPOSALS, WIDTH, choose, cluster, judge, label, predict, train_rounds, voc_of

from maskdistill.exports.run import export_run
from maskdistill.files import write_json
from maskdistill.pseudo_labels.label_maps import write_label_png


def test_label_maps_are_painted_from_the_masks_before_there_are_pseudo_labels(run, tmp_path):
    cluster(run)
    maps = voc_of(run, tmp_path / "out")
    expected = np.where(PROPOSALS[0], 1, np.where(PROPOSALS[1], 3, 0))
    np.testing.assert_array_equal(maps["0"], expected)
    assert set(maps) == {"0", "1", "2"}
    assert (tmp_path / "out" / "classes.txt").read_text().split("\n")[:2] == ["background", "cluster 1"]


def test_pseudo_labels_stand_alone_before_there_are_predictions(run, tmp_path):
    for step in (cluster, judge, choose, label):
        step(run)
    maps = voc_of(run, tmp_path / "out")
    assert set(maps) == {"0"}
    np.testing.assert_array_equal(maps["0"], DRAWN[0][0].astype(np.uint8))
    assert len(list((tmp_path / "out" / "JPEGImages").iterdir())) == 3


def test_photos_without_a_pseudo_label_have_predictions_with_crf_first(run, tmp_path):
    for step in (cluster, judge, choose, label, predict):
        step(run)
    maps = voc_of(run, tmp_path / "out")
    np.testing.assert_array_equal(maps["0"], DRAWN[0][0].astype(np.uint8))
    assert [np.unique(maps[stem]).tolist() for stem in ("1", "2")] == [[2], [3]]
    assert list(voc_of(run, tmp_path / "kept", kept_only=True)) == ["0"]
    assert [path.stem for path in (tmp_path / "kept" / "JPEGImages").iterdir()] == ["0"]


def test_predictions_of_the_last_round(run, tmp_path):
    for step in (cluster, judge, choose, label, predict):
        step(run)
    train_rounds(run, "rounds/2")
    sentence = export_run(run, "voc", tmp_path / "old")
    assert "Left out, because a stage before it was made again: predictions." in sentence
    for kind, value, number in (("rounds", 1, 1), ("rounds_crf", 2, 2)):
        write_label_png(run.prediction(kind, number), np.full((HEIGHT, WIDTH), value, np.uint8))
    write_json(run.path / "predictions.json", {"photos": [1, 2], "crf": [2], "model": "rounds/2"})
    maps = voc_of(run, tmp_path / "out")
    assert [np.unique(maps[stem]).tolist() for stem in ("1", "2")] == [[1], [2]]
