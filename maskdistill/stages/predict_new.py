"""Label maps of photos that a run never saw, by its model: by one process, several, or a cluster."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from maskdistill import __version__
from maskdistill.config import RunConfig
from maskdistill.datasets import Photo, PhotoSource, open_source
from maskdistill.errors import ConfigError, printable
from maskdistill.files import check_place, require_writable, write_json
from maskdistill.models.instance_finder import describe_instance
from maskdistill.models.new_instances import NewInstances, has_instances
from maskdistill.models.predictor import label_photo, load_model
from maskdistill.proposals.crf import INSTALL_HINT, crf_available
from maskdistill.pseudo_labels.label_maps import write_label_png
from maskdistill.stages.photo_failures import PHOTO_ERRORS, describe_failure
from maskdistill.stages.photo_work import LeftToOthersError, Share, do_tasks
from maskdistill.stages.pool import Workers, map_photos
from maskdistill.stages.shards import Parts, Shard
from maskdistill.stages.tasks import PhotoResult, WorkerSpec, leave_out
from maskdistill.storage.progress import Reporter
from maskdistill.storage.read_files import MissingFileError
from maskdistill.storage.run_folder import INSTANCES_PER_PHOTO, Run, fingerprint
from maskdistill.storage.run_lock import hold_run

STAGE = "predict"
ALONE = Workers(1)
UNFINISHED = ".unfinished"  # folder beside the label maps: what is done, as long as not all is


def predict_folder(
    run: Run,
    images: str,
    out: Path,
    *,
    crf: bool = False,
    stage: str = "final",
    workers: Workers = ALONE,
    shard: Shard | None = None,
    quiet: bool = False,
) -> str:
    """Write a palette PNG for each photo: same stem, the photo's size, 0 background, 1 to K clusters.

    A photo in a subfolder keeps its subfolder, and one whose stem another has too its suffix. One that cannot be read
    is named in the sentence and left out. Where the run finds single objects, instances.json beside the label maps
    holds those of all photos as COCO. Stopped and started again, it goes on.

    Args:
        run: A trained run.
        images: What ``open_source`` takes.
        out: Folder for the label maps.
        crf: Refine by the dense CRF.
        stage: Which model, as ``load_model`` takes it.
        workers: How many processes, and where.
        shard: Which part to do; None does all.
        quiet: No progress on standard error.

    Raises:
        DatasetError: If there is no photo to read.
        RunError: If the run is not trained, or another process writes there.
    """
    if crf and not crf_available():
        raise ConfigError(INSTALL_HINT)
    config = run.config()
    check_place(out, "folder")
    require_writable(out)
    source = open_source(Path(images))
    model = run.final_model if stage == "final" else stage
    if not (path := run.path / model / "model.safetensors").exists():
        raise MissingFileError(path)
    key = _key(run, source, crf, model)
    work = Run(out / UNFINISHED)
    parts = Parts(work.parts_path(STAGE, key), [(photo.height, photo.width) for photo in source.photos])
    options = {"out": out, "crf": crf, "stage": stage}
    spec = WorkerSpec("maskdistill.stages.predict_new:NewPhotoWorker", run.path, config, options)
    share = Share(work, STAGE, key, shard) if shard else None
    try:
        with share or hold_run(work.path):
            parts.drop_others()
            results = do_tasks(
                parts,
                list(enumerate(source.photos)),
                partial(map_photos, spec, workers=workers, on_crash=leave_out),
                partial(Reporter, work.progress_path, STAGE, quiet=quiet),
                share=share,
                made=lambda number: _path(out, source.photos[number]).is_file(),
            )
            sentence = _finish(run, source, out, results)
            shutil.rmtree(work.path)
    except LeftToOthersError as left:
        return str(left)
    return sentence


def _key(run: Run, source: PhotoSource, crf: bool, model: str) -> str:
    """Fingerprint of all that decides the label maps."""
    config = run.config()
    settings = [config.features, config.predictions, config.crf if crf else None]
    made_by = [run.fingerprint_of(name) for name in (model.partition("/")[0], "instances")]
    return fingerprint([source.fingerprint, model, *made_by, *map(repr, settings)])


def _path(out: Path, photo: Photo) -> Path:
    return out / f"{photo.id}.png"


class NewPhotoWorker:
    """A run's model, applied to one photo after the other."""

    def __init__(self, run: Path, config: RunConfig, out: Path, crf: bool, stage: str) -> None:
        self._config, self._out, self._crf = config, out, crf
        self._objects = NewInstances(Run(run)) if has_instances(Run(run)) else None
        self._predictor = load_model(Run(run), stage, self._objects.tokens if self._objects else None)

    def __call__(self, number: int, photo: Photo) -> PhotoResult:
        """Write the label map of one photo; the result has its single objects, where the run finds these."""
        try:
            labels = label_photo(self._predictor, photo, self._config, crf=self._crf)
            found = self._objects.find(photo) if self._objects is not None else []
        except PHOTO_ERRORS as error:
            return PhotoResult(number, error=describe_failure(photo, error))
        write_label_png(_path(self._out, photo), labels)
        return PhotoResult(number, [describe_instance(item, rank, number) for rank, item in enumerate(found)])


def _finish(run: Run, source: PhotoSource, out: Path, results: Sequence[dict[str, Any]]) -> str:
    """Write instances.json where the run finds single objects; what there is now, for people."""
    failed = [printable(item.path) for item in source.skipped_photos]
    failed += [
        printable(f"{photo.path} ({item['error']})")
        for photo, item in zip(source.photos, results, strict=True)
        if item["error"]
    ]
    told = ""
    if has_instances(run):
        coco = _as_coco(run, source, results)
        write_json(out / "instances.json", coco, indent=None)
        told = f"{len(coco['annotations'])} objects in instances.json."
    written = len(source.photos) + len(source.skipped_photos) - len(failed)
    problem = f"{len(failed)} left out, the first: {failed[0]}." if failed else ""
    return " ".join(part for part in (f"{written} label maps in {out}.", told, problem) if part)


def _as_coco(run: Run, source: PhotoSource, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The objects of photos as a COCO file; ids begin with 1, because pycocotools takes 0 for "no match"."""
    found = [
        (photo, item["annotations"]) for photo, item in zip(source.photos, results, strict=True) if not item["error"]
    ]
    return {
        "info": {"description": f"Single objects of {source.spec}, by maskdistill {__version__}"},
        "images": [
            {"id": number, "file_name": source.file_name(photo), "height": photo.height, "width": photo.width}
            for number, (photo, _) in enumerate(found, start=1)
        ],
        "annotations": [
            {**item, "id": (number - 1) * INSTANCES_PER_PHOTO + rank, "image_id": number}
            for number, (_, items) in enumerate(found, start=1)
            for rank, item in enumerate(items, start=1)
        ],
        "categories": [{"id": number, "name": f"cluster {number}"} for number in range(1, run.num_classes + 1)],
    }
