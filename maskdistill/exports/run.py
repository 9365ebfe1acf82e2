"""A run as files for other tools: what its latest stage knows of every photo, in each format that there is."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from maskdistill.config import LabelConfig
from maskdistill.errors import ConfigError, RunError
from maskdistill.exports.atlas import export_atlas
from maskdistill.exports.coco import export_coco
from maskdistill.exports.folder import check_folder
from maskdistill.exports.huggingface import export_huggingface
from maskdistill.exports.records import ExportFormat, ExportImage, ExportMask
from maskdistill.exports.voc import export_voc
from maskdistill.exports.yolo import export_yolo
from maskdistill.files import write_json
from maskdistill.masks import decode_mask
from maskdistill.pseudo_labels.label_maps import paint_labels, read_label_png
from maskdistill.review.decisions import class_digest, class_names, repairs_digest
from maskdistill.stages.plan import read_record
from maskdistill.stages.select import decisions_digest
from maskdistill.stages.stage_list import BY_NAME
from maskdistill.storage.mask_store import read_masks
from maskdistill.storage.mask_tables import has_masks
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_photos import paths_of, places_of, read_view, text_or_none

SIGNALS = ("origin", "cluster", "iou", "agreement", "distance", "area", "border", "proposal_score", "object_score")
What = Literal["masks", "instances", "proposals", "candidates"]
LabelOf = Callable[[ExportImage], np.ndarray | None]


@dataclass(frozen=True)
class Content:
    """What a run has to export."""

    images: list[ExportImage]
    masks: list[ExportMask]
    class_names: list[str]
    unused: frozenset[int] = frozenset()  # numbers that stand for no class
    notes: tuple[str, ...] = ()


def export_run(
    run: Run,
    format: ExportFormat,
    out: Path,
    *,
    kept_only: bool = False,
    what: What = "masks",
    stage: str = "final",
) -> str:
    """Write the run's photos with their masks (COCO, YOLO), label maps (VOC) or both (Hugging Face).

    ``atlas`` writes the masks as points of a map instead, and ``onnx`` a trained model.

    Masks of the photos that training saw are those that the first model draws, with its class, its score and whether
    the filter keeps them; of all other photos, and before that stage, they are the proposals with their clusters; and
    before there are clusters, proposals of one class "object". Stages made from older ones than there are now are left
    out, with a note.

    Label maps are the pseudo-labels; for photos without one the final model's predictions, with the CRF if there are
    such. Before there are pseudo-labels they are painted from the masks above.

    Args:
        run: The run.
        format: What the other tool reads.
        out: New, empty, or the folder of an earlier export.
        kept_only: Only masks that the filter keeps, and only photos that have one (VOC: a pseudo-label): the others
            hold objects that nobody has judged, so they are no examples of background.
        what: ``instances`` writes the single objects that the stage of that name finds instead (COCO, YOLO);
            ``proposals`` the masks as they were cut, and ``candidates`` as the first model draws them, as
            ``proposals.json`` and ``candidates.json`` of a run with fewer masks are (COCO).
        stage: Which model ``onnx`` writes, as ``load_model`` takes it.

    Returns:
        A sentence on what was written.

    Raises:
        RunError: If there is nothing to export yet, or ``kept_only`` comes before the filter or finds nothing.
        ConfigError: If the folder cannot be used, or instances are asked for in a way that knows none.
        DatasetError: If none of the photos can be read.
    """
    if what == "instances" and (format not in ("coco", "yolo") or kept_only):
        raise ConfigError("Instances are exported as coco or yolo, and the filter judges none of them.")
    if what in ("proposals", "candidates") and (format != "coco" or kept_only):
        raise ConfigError(f"{what.capitalize()} are exported as coco, all of them.")
    check_folder(out)
    if what == "proposals":
        return _export_copy(run, run.proposals_path, "propose", out)
    if what == "candidates":
        return _export_copy(run, run.candidate_masks_path, "train-stage1", out)
    if format == "onnx":
        return _export_model(run, out, stage)
    if format == "atlas":
        run.info()  # raises if this is no run
        return export_atlas(run, out, kept_only=kept_only).sentence
    content = _read_instances(run) if what == "instances" else _read_content(run, kept_only)
    if format == "voc":
        images, label_of, notes = _label_maps(run, content, kept_only)
        summary = export_voc(out, images, label_of, content.class_names)
    elif format == "huggingface":
        images, label_of, notes = _label_maps(run, content, kept_only)
        numbers = {image.number for image in images}
        masks = [mask for mask in content.masks if mask.image in numbers]
        summary = export_huggingface(out, images, masks, content.class_names, label_of)
    else:
        notes = ()
        told = (out, content.images, content.masks, content.class_names)
        summary = export_coco(*told, unused=content.unused) if format == "coco" else export_yolo(*told)
    return " ".join([summary.sentence, *content.notes, *notes])


def _export_copy(run: Run, coco_path: Path, command: str, out: Path) -> str:
    run.info()  # raises if this is no run
    if not has_masks(coco_path):
        kind = "masks" if coco_path == run.proposals_path else coco_path.stem
        remedy = f"Make them with: maskdistill {command} --run {run.path}"
        raise RunError(f"{run.path} has no {kind} to export yet. {remedy}")
    found = read_masks(coco_path)
    path = out / coco_path.name
    write_json(path, found, indent=None)
    return f"{len(found['annotations'])} masks of {len(found['images'])} photos in {path}."


def _export_model(run: Run, out: Path, stage: str) -> str:
    from maskdistill.exports.onnx_model import export_onnx  # loads torch

    run.info()  # raises if this is no run
    names = _class_names(run, run.num_classes) if _fits(run, "clusters") else ()
    return export_onnx(run, out, stage=stage, class_names=names)


def _read_content(run: Run, kept_only: bool) -> Content:
    run.info()  # raises if this is no run
    if not _fits(run, "proposals") or not has_masks(run.proposals_path):
        raise RunError(f"{run.path} has no masks to export yet. Make them with: maskdistill propose --run {run.path}")
    if kept_only and not _fits(run, "filter"):
        raise RunError(f"{run.path} has no kept masks yet. Choose them with: maskdistill filter --run {run.path}")
    proposals = read_masks(run.codes_path)
    images = _read_images(run, proposals["images"])
    judged, masks = _candidate_masks(run) if _fits(run, "candidates") else (set(), [])
    others = [item for item in proposals["annotations"] if item["image_id"] not in judged]
    names, classes = _read_classes(run, others)
    more = _proposal_masks(others, classes)
    masks += more
    used = {*classes.values(), *(mask.label for mask in masks)}
    unused = frozenset(range(1, len(names) + 1)) - used
    notes = _notes(run, len(others) - len(more))
    if kept_only:
        masks = [mask for mask in masks if mask.kept and mask.image in judged]
        if not masks:
            raise RunError(f"The filter of {run.path} keeps no mask. Loosen its thresholds and run it again.")
        images = [image for image in images if image.number in {mask.image for mask in masks}]
    readable = {image.number for image in images}
    masks = sorted((mask for mask in masks if mask.image in readable), key=lambda mask: mask.id)
    return Content(images, masks, names, unused, notes)


def _read_instances(run: Run) -> Content:
    run.info()  # raises if this is no run
    folder = run.instances
    if not _fits(run, "instances") or not read_json(folder.record_path)["used"]:
        remedy = f"Make them with: maskdistill instances --run {run.path} --set instances.enabled=on"
        raise RunError(f"{run.path} has no instances to export. {remedy}")
    found = read_masks(folder.codes_path)
    images = _read_images(run, found["images"])
    names = _class_names(run, run.num_classes)
    readable = {image.number for image in images}
    masks = [
        ExportMask(item["id"], item["image_id"], item["category_id"], item["score"], item["segmentation"])
        for item in found["annotations"]
        if item["image_id"] in readable
    ]
    unused = frozenset(range(1, len(names) + 1)) - {mask.label for mask in masks}
    return Content(images, masks, names, unused)


def _class_names(run: Run, num_classes: int) -> list[str]:
    given = class_names(run)
    return [given.get(number) or f"cluster {number}" for number in range(1, num_classes + 1)]


def _fits(run: Run, name: str) -> bool:
    """Whether a stage is finished, and was made from what the stages before it hold now."""
    record = read_record(run, name)
    if record is None or not all((run.path / artifact).exists() for artifact in BY_NAME[name].artifacts):
        return False
    if name == "predictions" and _predicting_model(run) != run.final_model:
        return False
    made_from = record["made_from"].get("from", {})
    if name == "stage1" and "classes" not in made_from and _decisions_used(run, "classes"):
        return False
    if name == "embeddings" and run.mask_stage != "proposals" and run.mask_stage not in made_from:
        return False
    return all(_fits(run, need) and found == _fingerprint(run, need) for need, found in made_from.items())


def _predicting_model(run: Run) -> str:
    """Folder of the final model at the time of the predictions."""
    return read_json(run.path / "predictions.json").get("model", "stage2")


def _fingerprint(run: Run, name: str) -> str | None:
    record = read_record(run, name)
    return None if record is None else record["fingerprint"]


def _old_notes(run: Run, names: Iterable[str]) -> tuple[str, ...]:
    """A note on stages whose artifacts cannot be used any more."""
    old = [name for name in names if read_record(run, name) is not None and not _fits(run, name)]
    return (f"Left out, because a stage before it was made again: {', '.join(old)}.",) if old else ()


def _read_images(run: Run, entries: Sequence[dict[str, Any]]) -> list[ExportImage]:
    """Readable photos; their number is their place in the source."""
    table = run.images()
    table = table[table["digest"].notna()]  # what could not be opened at all has no number
    rows = table.to_dict("records")
    if [(row["height"], row["width"]) for row in rows] != [(item["height"], item["width"]) for item in entries]:
        raise RunError(f"The masks of {run.path} are those of other photos. Run: maskdistill propose --run {run.path}")
    return [
        ExportImage(
            number=item["id"],
            id=row["id"],
            path=path,
            file_name=item["file_name"],
            height=item["height"],
            width=item["width"],
            split=text_or_none(row["split"]),
            view=read_view(row["view"]),
            place=place,
        )
        for item, row, path, place in zip(entries, rows, paths_of(table), places_of(table), strict=True)
        if row["readable"]
    ]


def _candidate_masks(run: Run) -> tuple[set[int], list[ExportMask]]:
    """Numbers of the photos that the first model has judged, and the masks that it draws there."""
    coco = read_masks(run.candidate_masks_path)
    signals = run.candidates().set_index("mask_id")
    names = [name for name in SIGNALS if name in signals]
    rules = run.kept().set_index("mask_id") if _fits(run, "filter") else None
    masks = []
    for item in coco["annotations"]:
        id = item["id"]
        extra = {name: signals.at[id, name] for name in names}
        kept, label = True, item["category_id"]
        if rules is not None:
            extra["rule"] = rules.at[id, "rule"]
            kept, label = bool(rules.at[id, "kept"]), int(rules["relabel"].loc[id]) or label
        masks.append(ExportMask(id, item["image_id"], label, item["score"], item["segmentation"], kept, extra))
    return {item["id"] for item in coco["images"]}, masks


def _read_classes(run: Run, annotations: Sequence[dict[str, Any]]) -> tuple[list[str], dict[int, int]]:
    """Names of all classes, and the class of each mask that is in one; before there are clusters, one of all masks."""
    if _fits(run, "classes"):
        table, num_classes = run.classes(), run.num_classes
    elif _fits(run, "clusters"):
        table, num_classes = run.clusters(), read_json(run.path / "clusters.json")["num_classes"]
    else:
        return _read_categories(annotations)
    return _class_names(run, num_classes), dict(zip(table["mask_id"].tolist(), table["cluster"].tolist(), strict=True))


def _read_categories(annotations: Sequence[dict[str, Any]]) -> tuple[list[str], dict[int, int]]:
    """Before there are clusters: the categories that masks came with, if all have one, else a class of all."""
    given = {item["id"]: item.get("category", "") for item in annotations}
    names = sorted(set(given.values()))
    if not names or "" in names:
        return ["object"], dict.fromkeys(given, 1)
    return names, {id: names.index(name) + 1 for id, name in given.items()}


def _proposal_masks(annotations: Sequence[dict[str, Any]], classes: Mapping[int, int]) -> list[ExportMask]:
    """The proposals given that are in a class."""
    return [
        ExportMask(
            item["id"],
            item["image_id"],
            classes[item["id"]],
            item["score"],
            item["segmentation"],
            extra={"category": item["category"]} if item.get("category") else {},
        )
        for item in annotations
        if item["id"] in classes
    ]


def _notes(run: Run, lost: int) -> tuple[str, ...]:
    """What differs from what people may expect: old stages, decisions that no stage has heeded yet, masks left out."""
    notes = _old_notes(run, ("clusters", "classes", "candidates", "filter"))
    used = _decisions_used(run, "repairs") if run.mask_stage == "repairs" else ""
    if used != repairs_digest(run):
        notes = (*notes, "People mended masks since, or took that back, which is not in it.")
    for name, need, digest in (("classes", "clusters", class_digest), ("filter", "candidates", decisions_digest)):
        if _fits(run, need) and _decisions_used(run, name) != digest(run):
            notes = (*notes, f"People decided something since the stage {name} was made, which is not in it.")
            break
    return (*notes, f"{lost} masks in no class were left out.") if lost else notes


def _decisions_used(run: Run, name: str) -> str:
    """Digest of the decisions that a stage was made with."""
    record = read_record(run, name)
    return record["made_from"].get("decisions", "") if record else ""


def _label_maps(run: Run, content: Content, kept_only: bool) -> tuple[list[ExportImage], LabelOf, tuple[str, ...]]:
    """Photos, their label maps, and notes."""
    notes = _old_notes(run, ("pseudo_labels", "predictions"))
    if not _fits(run, "pseudo_labels"):
        if kept_only:
            raise RunError(f"{run.path} has no label maps yet. Make: maskdistill pseudo-label --run {run.path}")
        return content.images, _painted(content.masks), notes
    files = {number: run.pseudo_label(number) for number in run.labelled()}
    if kept_only:
        return [image for image in content.images if image.number in files], _stored(files), notes
    if _fits(run, "predictions"):
        made, last = read_json(run.path / "predictions.json"), _predicting_model(run).partition("/")[0]
        for kind, numbers in ((f"{last}_crf", made["crf"]), (last, made["photos"])):
            files = {number: run.prediction(kind, number) for number in numbers} | files
    return content.images, _stored(files), notes


def _stored(files: Mapping[int, Path]) -> LabelOf:
    return lambda image: read_label_png(files[image.number]) if image.number in files else None


def _painted(masks: Sequence[ExportMask]) -> LabelOf:
    by_image: dict[int, list[ExportMask]] = {}
    for mask in masks:
        by_image.setdefault(mask.image, []).append(mask)

    def paint(image: ExportImage) -> np.ndarray:
        mine = by_image.get(image.number, [])
        return paint_labels(
            (image.height, image.width),
            [decode_mask(mask.code) for mask in mine],
            [mask.label for mask in mine],
            [mask.score for mask in mine],
            [mask.kept for mask in mine],
            LabelConfig(),
        )

    return paint
