"""A finished run measured on any photos with ground truth."""

from typing import Any

from maskdistill.datasets import PhotoSource, open_source
from maskdistill.datasets.splits import reported_numbers
from maskdistill.errors import ConfigError, DatasetError
from maskdistill.evaluation.confusion import Confusion, match_one_to_one, report
from maskdistill.evaluation.ground_truth import GroundTruth
from maskdistill.models.predictor import label_photo, load_model
from maskdistill.proposals.crf import INSTALL_HINT, crf_available
from maskdistill.storage.read_files import read_json, read_json_if_there
from maskdistill.storage.run_folder import Run


def evaluate(
    run: Run, data: str | None = None, *, split: str = "auto", crf: bool = False, stage: str = "final"
) -> dict[str, Any]:
    """Label photos with the run's model and compare with ground truth.

    Args:
        run: A trained run.
        data: Other photos with ground truth; None takes the run's own.
        split: ``val``, ``train``, ``all``, or ``auto`` for val where there is one, else all.
        crf: Refine by the dense CRF.
        stage: Which model, as ``load_model`` takes it.

    Returns:
        ``miou``, ``iou`` by class, ``pixel_accuracy``, ``matching``, ``num_images`` and more, ready for JSON, among it
        ``ground_truth_left_out``: what of the ground truth could not be used. Of the run's own photos ``mask_ap50`` and
        ``corloc`` of its proposals too, from metrics.json.

    Raises:
        DatasetError: If no photo has ground truth that can be used.
        RunError: If the run is not trained.
    """
    config = run.config()
    if crf and not crf_available():
        raise ConfigError(INSTALL_HINT)
    source = open_source(data or run.info()["data"], seen=None if data else run.seen_path)
    limit = run.info().get("limit", 0)
    if data is None and limit:
        source = source.limited(limit)
    truth = GroundTruth(source)
    _need_truth(source, truth)
    predictor = load_model(run, stage)
    counts = Confusion(num_classes=len(source.classes), num_clusters=predictor.num_classes)
    for number in reported_numbers(source, split):
        photo = source.photos[number]
        classes = truth.read(photo)
        if classes is not None:
            counts.update(classes, label_photo(predictor, photo, config, crf=crf))
    if counts.coverage is None:
        raise DatasetError(_no_truth(f"split '{split}' in {source.spec}", counts.num_images, truth))
    found = report(counts, source.classes, match_one_to_one(counts)).to_dict()
    found["ground_truth_left_out"] = truth.describe()
    own = data is None or source.fingerprint == _fingerprint_of(run)
    return {**found, **(_mask_measures(run, source, split) if own else {})}


def describe_report(found: dict[str, Any]) -> str:
    """A few lines for people."""
    lines = [f"mIoU {found['miou']:.3f}, pixel accuracy {found['pixel_accuracy']:.3f}, {found['num_images']} photos"]
    for name, value in found["iou"].items():
        lines.append(f"  {name:20s} {'-' if value is None else f'{value:.3f}'}")
    for name in ("mask_ap50", "corloc"):
        if found.get(name) is not None:
            lines.append(f"{name} of the proposals {found[name]:.3f}")
    left_out = found.get("ground_truth_left_out") or {"count": 0, "first": []}
    for first in left_out["first"][:1]:
        count = f"{left_out['count']:,} photo{'' if left_out['count'] == 1 else 's'}"
        lines.append(f"Ground truth left out: {count}, the first {first['photo']}. {first['why']}")
    lines += [f"{note['why']} ({note['file']})" for note in left_out.get("notes", [])[:3]]
    return "\n".join(lines)


def _need_truth(source: PhotoSource, truth: GroundTruth) -> None:
    if not truth.exists:
        reason = next((f"{note.path}: {note.reason}" for note in truth.notes), "")
        text = f"{source.spec} has no ground truth: a VOC folder with SegmentationClass or COCO is needed. {reason}"
        raise DatasetError(text.strip())


def _no_truth(what: str, num_images: int, truth: GroundTruth) -> str:
    if num_images:
        return f"The ground truth of {what} is 255 everywhere, which is ignored. Choose another --split."
    return f"No photo of {what} has ground truth. Choose another --split. {truth.sentence}".strip()


def _fingerprint_of(run: Run) -> str:
    return read_json(run.stage_path("proposals"))["made_from"]["photos"]


def _mask_measures(run: Run, source: PhotoSource, split: str) -> dict[str, Any]:
    """CorLoc and mask AP of the run's proposals, if metrics.json has them for this split."""
    path = run.path / "metrics.json"
    metrics = read_json_if_there(path) or {}
    if "masks" not in metrics or reported_numbers(source, metrics["split"]) != reported_numbers(source, split):
        return {}
    return {name: metrics["masks"][name] for name in ("mask_ap50", "corloc")}
