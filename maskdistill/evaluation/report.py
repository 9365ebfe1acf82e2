"""A finished run asked about: measures on any photos with ground truth, label maps of any photos."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maskdistill import __version__
from maskdistill.datasets import Photo, PhotoSource, open_source
from maskdistill.datasets.splits import reported_numbers
from maskdistill.errors import ConfigError, DatasetError, MaskDistillError, OutOfMemoryError, printable
from maskdistill.evaluation.confusion import Confusion, match_one_to_one, report
from maskdistill.evaluation.ground_truth import GroundTruth
from maskdistill.files import check_place, require_writable, write_json
from maskdistill.models.instance_finder import Instance, describe_instance
from maskdistill.models.new_instances import NewInstances, has_instances
from maskdistill.models.predictor import label_photo, load_model
from maskdistill.proposals.crf import INSTALL_HINT, crf_available
from maskdistill.pseudo_labels.label_maps import write_label_png
from maskdistill.storage.progress import Reporter
from maskdistill.storage.read_files import read_json, read_json_if_there
from maskdistill.storage.run_folder import INSTANCES_PER_PHOTO, Run


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
    _check_crf(crf)
    source = open_source(data or run.info()["data"])
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


def predict_folder(
    run: Run, images: str, out: Path, *, crf: bool = False, stage: str = "final", quiet: bool = False
) -> str:
    """Write a palette PNG for each photo: same stem, the photo's size, 0 background, 1 to K clusters.

    A photo in a subfolder keeps its subfolder, and one whose stem another has too its suffix. One that cannot be read
    is named in the sentence and left out. Where the run finds single objects, instances.json beside the label maps
    holds those of all photos as COCO.

    Raises:
        DatasetError: If there is no photo to read.
        RunError: If the run is not trained.
    """
    config = run.config()
    _check_crf(crf)
    check_place(out, "folder")
    require_writable(out)
    source = open_source(Path(images))
    objects = NewInstances(run) if has_instances(run) else None
    predictor = load_model(run, stage, objects.tokens if objects else None)
    failed = [printable(item.path) for item in source.skipped_photos]
    found: dict[Photo, list[dict[str, Any]]] = {}
    reporter = Reporter(out / ".progress.json", "predict", len(source.photos), quiet=quiet)
    with reporter:
        for photo in source.photos:
            try:
                labels = label_photo(predictor, photo, config, crf=crf)
                if objects is not None:
                    found[photo] = _describe_instances(objects.find(photo), len(found))
            except OutOfMemoryError:  # no fault of the photo
                raise
            except (MaskDistillError, OSError, ValueError) as error:
                failed.append(printable(f"{photo.path} ({error})"))
                continue
            write_label_png(out / f"{photo.id}.png", labels)
            reporter.advance()
    (out / ".progress.json").unlink(missing_ok=True)
    if objects is not None:
        write_json(out / "instances.json", _as_coco(source, found, predictor.num_classes), indent=None)
    written = len(source.photos) + len(source.skipped_photos) - len(failed)
    problem = f"{len(failed)} left out, the first: {failed[0]}." if failed else ""
    count = sum(map(len, found.values()))
    told = f"{count} objects in instances.json." if objects is not None else ""
    return " ".join(part for part in (f"{written} label maps in {out}.", told, problem) if part)


def _describe_instances(found: Sequence[Instance], number: int) -> list[dict[str, Any]]:
    return [
        describe_instance(item, number * INSTANCES_PER_PHOTO + rank + 1, number + 1) for rank, item in enumerate(found)
    ]


def _as_coco(source: PhotoSource, found: Mapping[Photo, list[dict[str, Any]]], num_classes: int) -> dict[str, Any]:
    """The objects of photos as a COCO file; ids begin with 1, because pycocotools takes 0 for "no match"."""
    return {
        "info": {"description": f"Single objects of {source.spec}, by maskdistill {__version__}"},
        "images": [
            {"id": number, "file_name": source.file_name(photo), "height": photo.height, "width": photo.width}
            for number, photo in enumerate(found, start=1)
        ],
        "annotations": [item for items in found.values() for item in items],
        "categories": [{"id": number, "name": f"cluster {number}"} for number in range(1, num_classes + 1)],
    }


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


def _check_crf(wanted: bool) -> None:
    if wanted and not crf_available():
        raise ConfigError(INSTALL_HINT)


def _fingerprint_of(run: Run) -> str:
    return read_json(run.stage_path("proposals"))["made_from"]["photos"]


def _mask_measures(run: Run, source: PhotoSource, split: str) -> dict[str, Any]:
    """CorLoc and mask AP of the run's proposals, if metrics.json has them for this split."""
    path = run.path / "metrics.json"
    metrics = read_json_if_there(path) or {}
    if "masks" not in metrics or reported_numbers(source, metrics["split"]) != reported_numbers(source, split):
        return {}
    return {name: metrics["masks"][name] for name in ("mask_ap50", "corloc")}
