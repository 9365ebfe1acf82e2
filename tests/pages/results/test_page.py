"""The Results page on a whole run of twelve drawn photos with ground truth."""

import shutil

import pytest
from needs import needs_crf
from streamlit.proto.Metric_pb2 import Metric

from app.results.page import VIEWS, why_outdated
from maskdistill.evaluation.metric_tables import percent
from maskdistill.evaluation.photo_metrics import read_photo_results
from maskdistill.files import write_json
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run

STAGES_GONE = ("stage1", "stage2", "evaluation", "predictions", "candidates", "filter", "pseudo_labels")
FILES_GONE = (
    *("metrics.json", "predictions.json", "pseudo_labels.json", "photo_counts.parquet", "photo_changes.parquet"),
    *("candidates.parquet", "candidates.json", "candidates.arrow", "kept.parquet"),
)


def text_of(app):
    parts = [*app.markdown, *app.caption, *app.info, *app.warning, *app.subheader]
    return " ".join(part.value for part in parts).replace("\N{NO-BREAK SPACE}", " ")


def options_of(app, key):
    return next(box for box in app.selectbox if box.key == key).options


def untrain(run):
    for name in ("stage1", "stage2", "predictions", "pseudo_labels"):
        shutil.rmtree(run.path / name)
    for name in FILES_GONE:
        (run.path / name).unlink(missing_ok=True)
    for name in STAGES_GONE:
        run.stage_path(name).unlink(missing_ok=True)


def without_truth(run):
    info = run.info()
    run.write_info(info | {"source": info["source"] | {"has_labels": False}})
    write_json(
        run.path / "metrics.json", {"ground_truth": False, "counts": read_json(run.path / "metrics.json")["counts"]}
    )
    for name in ("photo_counts.parquet", "photo_changes.parquet", "mask_truth.parquet"):
        (run.path / name).unlink()


@pytest.mark.parametrize("view", list(VIEWS))
def test_every_part_opens(open_page, finished_run, view):
    app = open_page("results", run="tiny", results=view)
    assert not app.exception
    assert not app.error


@needs_crf
def test_stages_have_the_final_metric_and_say_that_labels_only_report(open_page, finished_run):
    app = open_page("results", run="tiny")
    final = read_json(finished_run.path / "metrics.json")["reported"]["stage2_crf"]["miou"]
    assert app.metric[0].label == "mIoU, Stage 2 + CRF"
    assert app.metric[0].value == percent(final)
    assert f"Stage 2 + CRF reaches {100 * final:.1f} % mIoU on 4 photos" in text_of(app)
    assert "for reporting only" in text_of(app)


@needs_crf
def test_a_loss_against_the_proposals_is_shown_as_a_loss(open_page, finished_run):
    measures = read_json(finished_run.path / "metrics.json")["reported"]
    assert measures["stage2_crf"]["miou"] < measures["proposals"]["miou"]
    assert open_page("results", run="tiny").metric[0].proto.direction == Metric.MetricDirection.DOWN


def test_masks_after_the_foreground_stand_beside_those_as_cut(open_page, editable_run):
    path = editable_run.path / "metrics.json"
    measured = read_json(path)
    values = {"mean_best_iou": 0.81, "corloc": 0.9, "num_images": 4}
    write_json(path, {**measured, "masks": values, "cut_masks": {**values, "mean_best_iou": 0.78}})
    app = open_page("results", run="tiny")
    assert not app.exception
    shown = [(item.value, item.delta) for item in app.metric if item.label == "Mean best IoU"]
    assert [value for value, _ in shown] == [percent(0.81), percent(0.78)]
    assert shown[0][1].startswith("+3")
    assert not shown[1][1]


def test_without_a_run_it_says_what_to_do(open_page):
    app = open_page("results")
    assert not app.exception
    assert "Start page" in app.info[0].value


def test_untrained_run_shows_its_masks(open_page, editable_run):
    untrain(editable_run)
    app = open_page("results", run="tiny")
    assert not app.exception
    assert "Training page" in app.info[0].value
    assert {metric.label for metric in app.metric} == {"CorLoc", "Mean best IoU", "Photos", "Proposals", "Clusters"}
    app = open_page("results", run="tiny", results="photos")
    assert options_of(app, "results:photos") == ["As in the source"]
    app = open_page("results", run="tiny", results="new")
    assert not app.file_uploader
    assert len(app.info) == 1


def test_without_ground_truth_stages_are_compared_with_each_other(open_page, editable_run):
    without_truth(editable_run)
    app = open_page("results", run="tiny")
    assert not app.exception
    assert "no ground truth" in text_of(app)
    assert [item.proto.id for item in app.get("plotly_chart") if item.proto.id.endswith("-agreement")]
    assert (editable_run.path / "photo_counts.parquet").is_file()  # counted on the way
    app = open_page("results", run="tiny", results="photos")
    assert options_of(app, "results:photos") == ["Most changed from Proposals to Stage 2", "As in the source"]
    app = open_page("results", run="tiny", results="classes")
    assert [heading.value for heading in app.subheader] == ["Clusters"]


def test_photo_order_and_pair_stand_in_the_link(open_page, finished_run):
    app = open_page("results", run="tiny", results="photos", photos="order", left="stage1", right="stage2", photo="03")
    assert not app.exception
    assert "4 of 12" in text_of(app)
    next(button for button in app.button if button.label == "Next").click().run()
    link = {name: app.query_params[name] for name in ("photo", "left", "right")}
    assert link == {"photo": "04", "left": "stage1", "right": "stage2"}
    assert "5 of 12" in text_of(app)


def test_worst_photo_comes_first(open_page, finished_run):
    worst = open_page("results", run="tiny", results="photos").query_params["photo"]
    best = open_page("results", run="tiny", results="photos", photos="best").query_params["photo"]
    assert worst != best


def test_photos_can_be_limited_to_a_class(open_page, finished_run):
    sizes = read_photo_results(finished_run).class_sizes("stage2")
    label, count = sizes.loc[sizes["label"] > 0, ["label", "photos"]].iloc[0]
    app = open_page("results", run="tiny", results="photos", holding=str(label))
    assert f"1 of {count}" in text_of(app)
    assert any(option.endswith(f"({count})") for option in options_of(app, "results:holding"))


def test_link_to_nothing_falls_back_with_a_notice(open_page, finished_run):
    app = open_page("results", run="tiny", results="photos", photo="unknown", photos="sideways", holding="99")
    assert not app.exception
    assert "'unknown'" in app.warning[0].value
    assert "photos=sideways" in app.warning[0].value


def test_two_runs_are_compared(open_page, editable_run):
    other = Run(shutil.copytree(editable_run.path, editable_run.path.parent / "second"))
    info = other.info()
    other.write_info(info | {"config": info["config"] | {"seed": 7}})
    app = open_page("results", run="tiny", results="runs")
    assert not app.exception
    assert "**100.0 %** of the pixels of 12 photos" in text_of(app)
    metrics, settings = (item.value for item in app.dataframe)
    assert metrics["Difference"].dropna().eq(0).all()
    assert settings[["Name", "tiny", "second"]].to_numpy().tolist() == [["seed", "0", "7"]]


def test_a_single_run_says_how_to_get_another(open_page, finished_run):
    app = open_page("results", run="tiny", results="runs")
    assert "Start page" in app.info[0].value
    assert not app.dataframe


def test_dropped_photo_is_labelled_and_a_paper_refused(open_page, finished_run, photo_folder):
    app = open_page("results", run="tiny", results="new")
    app.file_uploader[0].upload("bee.png", (photo_folder / "bee.png").read_bytes(), "image/png")
    app.run()
    assert not app.exception
    assert "**bee.png**, 64 × 48 px" in text_of(app)
    app.file_uploader[0].upload("paper.pdf", b"%PDF-1.7 a paper", "application/pdf")
    app.run()
    assert "**paper.pdf**" in app.warning[0].value
    assert "not a JPEG" in app.warning[0].value


def test_metrics_of_earlier_label_maps_are_out_of_date(open_page, editable_run):
    assert why_outdated(editable_run) == ""
    path = editable_run.stage_path("predictions")
    write_json(path, read_json(path) | {"fingerprint": "another"})
    app = open_page("results", run="tiny")
    assert "the stage predictions" in app.warning[0].value
    editable_run.stage_path("evaluation").unlink()
    assert "evaluation" in why_outdated(editable_run)


def break_label(run, tmp_path, number, content=b""):
    """Copies the photos of a run, with one broken label, and points the run to them."""
    data = shutil.copytree(run.info()["data"], tmp_path / "broken")
    (data / "SegmentationClass" / f"{number:02d}.png").write_bytes(content)
    run.write_info(run.info() | {"data": str(data)})
    return data


def test_photo_whose_ground_truth_is_broken_shows_all_else(open_page, editable_run, tmp_path):
    break_label(editable_run, tmp_path, 3)
    app = open_page("results", run="tiny", results="photos", photos="order", photo="03")
    assert not app.exception
    assert not app.error
    assert ["03.png" in item.value for item in app.warning] == [True]
    (viewer,) = [item.proto for item in app.get("bidi_component") if "compare" in item.proto.id]
    assert "stage2" in str(viewer)
    assert not open_page("results", run="tiny", results="photos", photos="order", photo="04").warning


@pytest.mark.parametrize("view", ["stages", "photos", "classes"])
def test_ground_truth_that_is_left_out_is_named(open_page, editable_run, tmp_path, view):
    path = editable_run.path / "metrics.json"
    left_out = {"count": 70, "first": [{"photo": "03", "why": "is broken"}], "notes": [{"file": "x", "why": "y"}]}
    write_json(path, read_json(path) | {"ground_truth_left_out": left_out})
    app = open_page("results", run="tiny", results=view)
    assert not app.exception
    (box,) = [item for item in app.expander if item.label.startswith("71 ")]
    assert box.dataframe[0].value["File"].tolist() == ["03", "x"]


def test_ground_truth_that_breaks_before_the_photos_are_counted(open_page, editable_run, tmp_path):
    break_label(editable_run, tmp_path, 3)
    for name in ("metrics.json", "photo_counts.parquet", "photo_changes.parquet", "mask_truth.parquet"):
        (editable_run.path / name).unlink()
    app = open_page("results", run="tiny")
    assert not app.exception
    assert not app.error
    assert [item.dataframe[0].value["File"].tolist() for item in app.expander if "left out" in item.label] == [["03"]]


def test_all_ground_truth_is_gone(open_page, editable_run, tmp_path):
    data = break_label(editable_run, tmp_path, 3)
    shutil.rmtree(data / "SegmentationClass")
    for view in VIEWS:
        app = open_page("results", run="tiny", results=view)
        assert not app.exception
        assert not app.error


def test_label_maps_that_say_nothing_have_no_metric(open_page, editable_run):
    path = editable_run.path / "metrics.json"
    metrics = read_json(path)
    metrics["training"]["pseudo_labels"] |= {"miou": None, "pixel_accuracy": None, "coverage": 0.0}
    write_json(path, metrics)
    for view in VIEWS:
        app = open_page("results", run="tiny", results=view)
        assert not app.exception
        assert not app.error


def test_run_that_may_only_be_read_is_shown_without_the_ground_truth_of_its_masks(open_page, editable_run, monkeypatch):
    (editable_run.path / "mask_truth.parquet").unlink()

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("maskdistill.evaluation.mask_truth.write_table", refuse)
    app = open_page("results", run="tiny")
    assert not app.exception
    assert any("Ground truth is left out" in item.value for item in app.warning)


def test_report_is_that_of_the_run(open_page, finished_run, monkeypatch):
    offered = {}
    monkeypatch.setattr("streamlit.download_button", lambda label, data, name, *_, **more: offered.update({name: data}))
    app = open_page("results", run=finished_run.name)
    assert not app.exception
    page = offered[f"{finished_run.name}-report.html"]().decode()
    assert f"MaskDistill: the run {finished_run.name}</h1>" in page
