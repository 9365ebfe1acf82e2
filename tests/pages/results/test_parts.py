"""What the Results page is made of, without the page."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import ExifTags, Image

from app.results import charts, choices
from app.results.choices import StagePair
from app.results.segmenting import Models, segment, too_large
from maskdistill.config import RunConfig
from maskdistill.errors import DatasetError
from maskdistill.evaluation import metric_tables, metric_texts
from maskdistill.evaluation.label_names import LabelNames, names_of
from maskdistill.pictures.colors import cluster_color
from maskdistill.proposals.crf import crf_available


def spaced(text):
    """With plain spaces, where numbers and their units must not be broken apart."""
    return text.replace("\N{NO-BREAK SPACE}", " ")


def measures(miou, *, iou=None, images=10, seen=0, matching=None, confusion=None):
    return {
        "miou": miou,
        "iou": iou or {"background": 0.9, "cow": miou},
        "pixel_accuracy": 0.8,
        "coverage": 1.0,
        "majority_miou": miou,
        "num_images": images,
        "num_training": seen,
        "matching": matching or {"0": "background", "1": "cow"},
        "confusion": confusion or [[9, 1, 0], [2, 8, 0]],
    }


def metrics_of(**reported):
    return {"ground_truth": True, "classes": ["cow"], "reported": reported, "training": {}}


FOUND = {
    "proposals": measures(0.50),
    "stage1": measures(0.56),
    "stage2": measures(0.55),
    "stage2_crf": measures(0.5502),
}


@pytest.mark.parametrize(
    ("value", "words"), [(0.0123, "+1.2 points"), (-0.02, "−2.0 points"), (0.0001, "0.0 points"), (0, "0.0 points")]
)
def test_differences_are_points_with_a_sign(value, words):
    assert metric_tables.points(value) == words


def test_steps_have_their_gain_over_the_one_before():
    first, second, third = metric_texts.step_sentences(FOUND)
    assert first == "Stage 1: **+6.0 points** over Proposals."
    assert "−1.0 points" in second
    assert "points" not in third  # rounds to nothing


def test_steps_that_were_not_measured_are_left_out():
    without = {name: FOUND[name] for name in ("proposals", "stage2")}
    assert metric_texts.step_sentences(without) == []
    assert metric_tables.measured(metrics_of(**{**FOUND, "stage1": None}), "reported").keys() == {
        "proposals",
        "stage2",
        "stage2_crf",
    }


@pytest.mark.parametrize(
    ("images", "seen", "words"),
    [(10, 0, "10 photos that"), (1, 1, "1 photo, all"), (10, 4, "10 photos, 4 ")],
)
def test_headline_says_whether_training_saw_the_photos(images, seen, words):
    said = spaced(metric_texts.headline(metrics_of(stage2=measures(0.5, images=images, seen=seen))))
    assert "Stage 2 reaches 50.0 % mIoU" in said
    assert words in said


def test_headline_falls_back_to_training_photos_and_to_nothing():
    metrics = metrics_of(stage2=None) | {"training": {"stage2": measures(0.5, seen=10)}}
    assert metric_tables.final_group(metrics) == "training"
    assert "10 photos, all" in metric_texts.headline(metrics)
    assert metric_texts.headline({"ground_truth": False, "counts": {}}) == ""


def test_table_of_stages_has_percent_and_gains():
    table = metric_tables.stage_table(FOUND)
    assert table["Label maps"].tolist() == ["Proposals", "Stage 1", "Stage 2", "Stage 2 + CRF"]
    assert table["mIoU"].tolist() == pytest.approx([50, 56, 55, 55.02])
    assert np.isnan(table["Gain"][0])
    assert table["Gain"].tolist()[1:] == pytest.approx([6, -1, 0.02])
    assert table["Against"].tolist() == ["", "Proposals", "Stage 1", "Stage 2"]


def test_filter_is_compared_on_the_pixels_it_keeps():
    labels = measures(0.6) | {"coverage": 0.75}
    found = {"pseudo_labels": labels, "proposals_on_kept": measures(0.5)}
    kept, labels = metric_texts.filter_sentences(found, {"kept": 3, "candidates": 4})
    assert "**3 of 4**" in kept
    assert re.findall(r"[\d.]+ %", spaced(labels)) == ["75.0 %", "60.0 %", "50.0 %"]


def test_spread_over_seeds():
    said = spaced(metric_texts.seed_sentence({"miou": [0.5, 0.6], "mean": 0.55, "std": 0.0707}))
    assert "2 seeds" in said
    assert "**55.0 ± 7.1 %**" in said
    assert metric_texts.seed_sentence(None) == ""
    assert "**50.0 %**" in spaced(metric_texts.seed_sentence({"miou": [0.5], "mean": 0.5, "std": None}))


def class_measures(**iou):
    return measures(0.5, iou=iou)


def test_classes_are_sorted_by_the_second_and_absent_ones_last():
    found = {
        "proposals": class_measures(background=0.9, cow=0.2, dog=0.5, cat=None),
        "stage2": class_measures(background=0.8, cow=0.6, dog=0.3, cat=None),
    }
    table = metric_tables.class_table(found, "proposals", "stage2")
    assert table["class"].tolist() == ["background", "cow", "dog", "cat"]
    assert table["gain"].tolist()[:3] == pytest.approx([-10, 40, -20])
    assert table[["first", "second", "gain"]].iloc[3].isna().all()
    assert re.findall(r"(\w+) \((\d+) %", spaced(metric_texts.extremes(table))) == [("cow", "60"), ("dog", "30")]
    gains = re.findall(r"\*\*(\w+)\*\* .*?\((\S+) points", metric_texts.greatest_gain(table, "Proposals"))
    assert gains == [("cow", "+40"), ("dog", "−20")]
    assert metric_texts.greatest_gain(metric_tables.class_table(found, "stage2", "stage2"), "Stage 2") == ""


def test_worst_confusion_is_between_objects():
    counts = [[50, 50, 0, 0], [40, 50, 10, 0], [0, 1, 99, 0]]
    said = spaced(metric_texts.worst_confusion(counts, ["background", "cow", "dog"]))
    assert re.findall(r"(\d+) %|\*\*(\w+)\*\*", said) == [("10", ""), ("", "cow"), ("", "dog")]
    assert metric_texts.worst_confusion([[5, 0, 0], [0, 5, 0]], ["background", "cow"]) == ""


def test_runs_side_by_side_show_what_only_one_of_them_has():
    first = metrics_of(**FOUND) | {"masks": {"corloc": 0.5}, "counts": {"kept": 1, "candidates": 2}}
    second = metrics_of(stage2=measures(0.65))
    table = metric_tables.run_table(first, second, ("one", "two")).set_index("Metric")
    assert table.loc["mIoU, Stage 2, reported photos"].tolist() == pytest.approx([55, 65, 10])
    assert table.at["CorLoc", "one"] == 50
    assert table.loc["CorLoc", ["two", "Difference"]].isna().all()
    assert table.at["Candidates kept", "one"] == 50
    cut = metric_tables.run_table(first | {"cut_masks": {"corloc": 0.4}}, second, ("one", "two")).set_index("Metric")
    assert [cut.at[name, "one"] for name in ("CorLoc", "CorLoc, masks as cut")] == [50, 40]


NAMES = LabelNames(("cluster 1", "Cow", "cluster 3"), ("dog", "cow", "cat"), {0: 0, 1: 1, 2: 2})


def test_cluster_goes_by_its_name_and_the_class_it_stands_for():
    assert [NAMES.cluster(label) for label in (1, 2, 3)] == ["cluster 1 · dog", "Cow", "cluster 3"]


def test_matched_class_and_cluster_have_one_colour_and_one_meaning():
    clusters, truth = NAMES.clusters(), NAMES.truth()
    for label in (1, 2):
        assert clusters[label]["key"] == truth[label]["key"]
        assert clusters[label]["colour"] == truth[label]["colour"] == cluster_color(label)
    assert clusters[3]["key"] not in {entry["key"] for entry in truth.values()}
    assert truth[3]["colour"] not in {entry["colour"] for entry in clusters.values()}
    assert clusters[0]["key"] == truth[0]["key"]


def test_clusters_of_another_run_take_the_colours_of_those_they_match():
    table = NAMES.other_run(("a", "b", "c"), {0: 0, 1: 2, 3: 1})
    assert (table[1]["name"], table[1]["colour"]) == ("a = Cow", cluster_color(2))
    assert table[3]["key"] == NAMES.clusters()[1]["key"]
    assert table[2]["name"].startswith("b, only")
    assert table[2]["key"] not in {entry["key"] for entry in NAMES.clusters().values()}


def test_names_come_from_the_final_matching():
    metrics = metrics_of(
        proposals=measures(0.5, matching={"0": "background", "2": "cow"}),
        stage2=measures(0.5, matching={"0": "background", "1": "cow"}),
    )
    names = names_of(2, lambda label: f"cluster {label}", metrics)
    assert dict(names.matching) == {0: 0, 1: 1}
    assert names.class_of(2) is None
    assert names_of(2, str, {"ground_truth": False, "counts": {}}).classes == ()


@pytest.mark.parametrize(
    ("order", "wanted"),
    [("worst", [2, 0, 3, 1]), ("best", [3, 0, 2, 1]), ("changed", [1, 3, 0, 2]), ("order", [0, 1, 2, 3])],
)
def test_photos_are_sorted_and_the_unknown_come_last(order, wanted):
    ious, changed = np.array([0.5, np.nan, 0.1, 0.9]), np.array([0.1, 0.8, np.nan, 0.3])
    assert choices.sort_photos(order, ious, changed).tolist() == wanted


def test_most_changed_is_between_label_maps_only():
    fallback = StagePair("proposals", "stage2")
    assert StagePair("stage1", "stage2").changed(fallback) == StagePair("stage1", "stage2")
    for pair in (StagePair("truth", "stage2"), StagePair("photo", "stage1"), StagePair("stage1", "stage1")):
        assert pair.changed(fallback) == fallback
    assert fallback.text == "Proposals to Stage 2"


def test_confusion_is_in_shares_of_each_row_and_drops_an_empty_last_column():
    figure = charts.confusion_map([[8, 2, 0], [0, 0, 0]], ["background", "cow"], ["#000000", "#FFFFFF"])
    assert figure.data[0].z.tolist() == [[80, 20], [0, 0]]
    assert list(figure.data[0].customdata[0][1]) == ["background", "cow", "2"]
    assert [note.text for note in figure.layout.annotations] == ["80", "20"]
    figure = charts.confusion_map([[8, 0, 2], [0, 5, 0]], ["background", "cow"], ["#000000", "#FFFFFF"])
    assert figure.layout.xaxis.ticktext == ("background", "cow", "no class")


def test_names_in_charts_are_no_html_and_long_ones_are_cut():
    table = pd.DataFrame({"class": ["<b>x</b>", "n" * 60], "first": [1.0, 2.0], "second": [3.0, np.nan]})
    figure = charts.class_bars(table, "run <i>", "stage 2")
    assert figure.layout.yaxis.ticktext[0] == "&lt;b&gt;x&lt;/b&gt;"
    assert len(figure.layout.yaxis.ticktext[1]) == 26
    assert {bar.name for bar in figure.data} == {"run &lt;i&gt;", "stage 2"}


def test_bars_of_stages_tell_the_gain():
    figure = charts.stage_bars(metrics_of(**FOUND), "reported", "#123456")
    assert figure.data[0].text[0] == "50.0"
    assert figure.data[0].customdata[1] == ", +6.0 points against Proposals"
    assert figure.data[0].text[1] == "56.0 (+6.0)"


def test_agreement_leaves_out_what_no_photo_has():
    table = pd.DataFrame([[1.0, np.nan], [np.nan, 1.0]], index=["stage1", "stage2"], columns=["stage1", "stage2"])
    figure = charts.agreement_map(table, ["#000000", "#FFFFFF"])
    assert [note.text for note in figure.layout.annotations] == ["100.0", "100.0"]


class HalfPredictor:
    """Says class 1 of the right half of a photo."""

    num_classes = 1

    def probabilities(self, photo):
        values = np.zeros((2, photo.height, photo.width), np.float32)
        values[0, :, : photo.width // 2] = values[1, :, photo.width // 2 :] = 1
        return values


MODELS = Models(RunConfig(), {"stage1": HalfPredictor(), "final": HalfPredictor()})


def jpeg(size, orientation=1):
    """A photo dark on its left half."""
    image = Image.new("RGB", size, "white")
    image.paste((0, 0, 0), (0, 0, size[0] // 2, size[1]))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def test_dropped_photo_is_upright_bounded_and_comes_back_at_its_own_size():
    found = segment(jpeg((1600, 800), orientation=6), "phone.jpg", MODELS, crf=False)
    assert found.size == (1600, 800)
    assert found.image.size == (512, 1024)
    assert set(found.maps) == set(found.seconds) == {"stage1", "final"}
    png = found.palette_png("final")
    assert (png.mode, png.size) == ("P", (800, 1600))
    labels = np.asarray(png)
    assert set(np.unique(labels[:, :390])) == {0}
    assert set(np.unique(labels[:, 410:])) == {1}


@pytest.mark.skipif(not crf_available(), reason="needs pydensecrf")
def test_crf_is_a_map_of_its_own():
    found = segment(jpeg((64, 48)), "photo.jpg", MODELS, crf=True)
    assert list(found.maps) == ["stage1", "final", "final_crf"]
    assert found.maps["final_crf"].shape == (48, 64)


def test_file_that_is_no_picture_is_refused_in_a_sentence_without_a_path():
    with pytest.raises(DatasetError, match="^It is a PDF"):
        segment(b"%PDF-1.7 a paper", "paper.pdf", MODELS, crf=False)


def test_file_that_is_too_large_is_refused():
    assert too_large(50 * 2**20) == ""
    assert "50 MB" in too_large(50 * 2**20 + 1)
