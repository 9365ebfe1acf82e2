"""Whether what a finished stage left can still be used: files that are damaged, foreign, or do not go together."""

import os
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from maskdistill.config.instances import MOST_HEADS
from maskdistill.files import rename_aside, set_aside
from maskdistill.storage.label_folder import LabelFolder
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.photo_arrays import ArrayStore, PoolStore, VectorStore
from maskdistill.storage.read_files import (
    DamagedFileError,
    MissingFileError,
    check_pair,
    read_array,
    read_arrays,
    read_json,
    read_json_if_there,
    read_table,
    reading,
    state_of_file,
)
from maskdistill.storage.run_folder import Run, fingerprint
from maskdistill.storage.run_layout import CODE_COLUMNS, RUN_FILES
from maskdistill.storage.run_photos import check_photos
from maskdistill.storage.shares import shares_of
from maskdistill.storage.tensor_files import check_tensors
from maskdistill.storage.token_store import TOKEN_AXES, TOKEN_INFO, TokenAxes

Problem = DamagedFileError | MissingFileError
_PNG_HEAD, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_STAMPED = (
    *("images.parquet", "masks.parquet", "proposals.json", "proposals.arrow", "embeddings.json", "embeddings.npy"),
    *("stages/embeddings.json", "token_axes.npz"),
    *("foreground.json", "foreground/masks.parquet", "foreground/masks.json", "foreground/masks.arrow"),
    *("foreground/heads.npz", "stages/foreground.json"),
    *("repairs/record.json", "repairs/masks.parquet", "repairs/masks.json", "repairs/masks.arrow"),
    "stages/repairs.json",
    *("clusters.parquet", "clusters.json", "space.npz", "classes.parquet", "classes.json", "candidates.parquet"),
    *("candidates.json", "candidates.arrow", "kept.parquet", "pseudo_labels.json", "rounds.json", "predictions.json"),
    *("stage1/config.json", "stage2/config.json", "instances/config.json", "instances/record.json"),
    *("instances/model.safetensors", "instances.parquet", "instances.json", "instances.arrow"),
    *(f"instances/head-{number}/config.json" for number in range(1, MOST_HEADS)),
    *(f"instances/head-{number}/model.safetensors" for number in range(1, MOST_HEADS)),
    *("metrics.json", "umap_xy.npy", "stage1/model.safetensors", "stage2/model.safetensors", "stages/stage2.json"),
)


def is_finished(run: Run, stage: str, key: str) -> bool:
    """Whether a stage was finished from inputs of that fingerprint, and what others read of it is there and whole."""
    try:
        record = read_json_if_there(run.stage_path(stage))
        if record is None or not key == record["fingerprint"] == fingerprint(record["made_from"]):
            return False
    except DamagedFileError:
        return False
    return find_damage(run, stage) is None


def find_damage(run: Run, stage: str) -> Problem | None:
    """The first thing that is wrong with what a finished stage left for others; None if nothing is.

    Files that come in numbers, such as label maps, are looked at by ``damaged_numbered`` only. What was found is kept
    as long as the files are in the same state.
    """
    return _find_damage(run.path, stage, tuple(map(state_of_file, (run.path / name for name in _STAMPED))))


@lru_cache(maxsize=512)
def _find_damage(path: Path, stage: str, _state: tuple[object, ...]) -> Problem | None:
    try:
        _CHECKS[stage](Run(path))
    except FileNotFoundError as error:
        return MissingFileError(Path(error.filename)) if error.filename else None
    except (DamagedFileError, MissingFileError) as error:
        return error
    return None


def make_way(run: Run) -> None:
    """Rename what stands where a file of a run belongs and is a folder, or the other way round."""
    for file in (file.pattern for file in RUN_FILES if "*" not in file.pattern):
        if (run.path / file).is_dir():
            set_aside(run.path / file)
    for folder in {file.pattern.partition("/")[0] for file in RUN_FILES if "/" in file.pattern}:
        path = run.path / folder
        if os.path.lexists(path) and not path.is_dir():
            rename_aside(path)


def damaged_numbered(run: Run, stage: str, tokens: Path) -> Iterator[Problem]:
    """What is wrong with the files of a finished stage that come in numbers, and with the last of its model.

    Args:
        run: The run.
        stage: Name of the stage.
        tokens: Folder of the patch tokens; a folder that is not there at all was given up to save space.
    """
    checks = _NUMBERED.get(stage, lambda _run, _tokens: ())(run, tokens)
    try:
        for check, path in checks:
            if problem := _try(check, path):
                yield problem
    except (DamagedFileError, MissingFileError) as error:  # of the file that names the others
        yield error


def _try(check: Callable[[Path], object], path: Path) -> Problem | None:
    try:
        check(path)
    except FileNotFoundError:
        return MissingFileError(path)
    except (DamagedFileError, MissingFileError) as error:
        return error
    return None


# What others read of a stage.


def _check_proposals(run: Run) -> None:
    check_photos(run)
    _check_masks(run.cut_masks_path, run.proposals_path)


def _check_foreground(run: Run) -> None:
    if read_json(run.foreground.record_path)["used"]:
        _check_masks(run.foreground.masks_path, run.foreground.codes_path)
        read_arrays(run.foreground.heads_path, names=("mean", "basis", "hidden", "output"))


def _check_instances(run: Run) -> None:
    record = read_json(run.instances.record_path)
    if record["used"]:
        for number in range(len(record.get("scales", ()))):
            _check_model(run.instances.head(number).path)
        if run.instances.masks_path.is_file():  # runs of before have the COCO file alone
            _check_masks(run.instances.masks_path, run.instances.codes_path)
        else:
            MaskCodes.of_file(run.instances.codes_path)


def _check_masks(path: Path, codes_path: Path) -> None:
    masks, codes = read_table(path, without=CODE_COLUMNS), MaskCodes.of_file(codes_path)
    _check_same(path, masks["mask_id"], codes.ids, codes_path)


def _check_clusters(run: Run) -> None:
    table, record = run.clusters(), read_json(run.path / "clusters.json")
    masks = run.masks()
    _check_known(run.clusters_path, table["mask_id"], masks["mask_id"], run.masks_path)
    _check_classes_known(run.clusters_path, table["cluster"], record["num_classes"])
    _check_shares(run.clusters_path, table, record["num_classes"])
    path = run.path / "embeddings.npy"
    check_pair(path, len(read_array(path, ndim=2)), len(table), run.clusters_path)
    centres = read_arrays(run.path / "space.npz", names=("centres", "weights", "mean", "spread", "normalise", "note"))
    check_pair(run.path / "space.npz", len(centres["centres"]), record["num_classes"], run.path / "clusters.json")


def _check_classes(run: Run) -> None:
    table, record = read_table(run.classes_path), read_json(run.path / "classes.json")
    clusters = run.clusters()
    _check_known(run.classes_path, table["mask_id"], clusters["mask_id"], run.clusters_path)
    _check_classes_known(run.classes_path, table["cluster"], record["num_classes"])
    _check_shares(run.classes_path, table, record["num_classes"])


def _check_shares(path: Path, table: pd.DataFrame, num_classes: int) -> None:
    if (shares := shares_of(table, path)) is not None and shares.shape[1] != num_classes:
        raise DamagedFileError(path, f"it has shares in {shares.shape[1]} classes of {num_classes}")


def _check_candidates(run: Run) -> None:
    codes = MaskCodes.open(run, "candidates")
    table = run.candidates()
    _check_same(run.candidates_path, table["mask_id"], codes.ids, run.candidate_masks_path)


def _check_filter(run: Run) -> None:
    table, others = run.kept(), run.candidates()
    _check_same(run.kept_path, table["mask_id"], others["mask_id"], run.candidates_path)


def _check_rounds(run: Run) -> None:
    read_json(run.rounds_path)
    _check_model(run.path / run.final_model)


def _check_model(folder: Path) -> None:
    """The weights, and whether they are of the training that is written down beside them."""
    path = folder / "model.safetensors"
    found = check_tensors(path)
    try:
        wanted = read_json_if_there(folder / "config.json") or {}
    except DamagedFileError:  # the model can do without
        return
    if found.get("identity") != wanted.get("identity", found.get("identity")):
        raise DamagedFileError(path, "it is of another training")


def _check_projection(run: Run) -> None:
    path = run.path / "umap_xy.npy"
    places = read_array(path, ndim=2)
    check_pair(path, places.shape[1], 2, path, "{} columns".format)
    check_pair(path, len(places), len(run.clusters()), run.clusters_path)


def _check_same(path: Path, ids: Iterable[int], others: Iterable[int], other: Path) -> None:
    found, wanted = np.sort(np.asarray(ids)), np.sort(np.asarray(others))
    check_pair(path, len(found), len(wanted), other, "{} masks".format)
    if not np.array_equal(found, wanted):
        raise DamagedFileError(path, f"its masks are not those of {other.name}")


def _check_known(path: Path, ids: Iterable[int], others: Iterable[int], other: Path) -> None:
    strange = np.setdiff1d(np.asarray(ids), np.asarray(others))
    if len(strange):
        raise DamagedFileError(path, f"mask {strange[0]} is not in {other.name}")


def _check_classes_known(path: Path, classes: Iterable[int], num_classes: int) -> None:
    highest = int(np.max(np.asarray(classes), initial=0))
    if highest > num_classes:
        raise DamagedFileError(path, f"there is a cluster {highest}, of {num_classes}")


def _check_embeddings(run: Run) -> None:
    read_json(run.path / "embeddings.json")["folder"]
    if _has_compact_tokens(run):
        TokenAxes.load(run.token_axes_path)


def _has_compact_tokens(run: Run) -> bool:
    record = read_json_if_there(run.stage_path("embeddings"))
    return record is not None and record["made_from"].get("tokens") == "compact"


_CHECKS: dict[str, Callable[[Run], object]] = {
    "proposals": _check_proposals,
    "foreground": _check_foreground,
    "repairs": lambda run: _check_masks(run.repairs.masks_path, run.repairs.codes_path),
    "embeddings": _check_embeddings,
    "clusters": _check_clusters,
    "classes": _check_classes,
    "stage1": lambda run: _check_model(run.path / "stage1"),
    "instances": _check_instances,
    "candidates": _check_candidates,
    "filter": _check_filter,
    "pseudo_labels": lambda run: run.labelled(),
    "stage2": lambda run: _check_model(run.path / "stage2"),
    "rounds": _check_rounds,
    "predictions": lambda run: read_json(run.path / "predictions.json")["photos"],
    "evaluation": lambda run: read_json(run.path / "metrics.json"),
    "projection": _check_projection,
}

# Files that come in numbers, each with the function that looks at it.

Checks = Iterator[tuple[Callable[[Path], object], Path]]


def _numbered_foreground(run: Run, _tokens: Path) -> Checks:
    if read_json(run.foreground.record_path)["used"]:
        images, maps = run.images(), ArrayStore(run.foreground.maps_path)
        readable = images["readable"].astype(bool).tolist()
        yield from ((_check_array, maps.path(number)) for number, can in enumerate(readable) if can)
        if run.pool.is_dir():  # the masks were chosen from it, or it was given up to save space
            pool = PoolStore(run.pool)
            yield from ((_check_archive, pool.path(number)) for number, can in enumerate(readable) if can)


def _numbered_embeddings(run: Run, tokens: Path) -> Checks:
    record, images = read_json(run.path / "embeddings.json"), run.images()
    vectors = VectorStore(run.path / "features" / record["folder"])
    readable = set(images.loc[images["readable"].astype(bool), "id"])
    readable -= set(record["errors"]) - set(record.get("missed", ()))  # these are tried anew
    with_masks = readable & set(run.masks()["image_id"])
    if tokens.is_dir():
        yield read_json, tokens / TOKEN_INFO
        if _has_compact_tokens(run):
            yield TokenAxes.load, tokens / TOKEN_AXES
    for number, id in enumerate(images["id"]):
        if tokens.is_dir() and id in readable:
            yield _check_array, ArrayStore(tokens).path(number)
        if vectors.folder.is_dir() and id in with_masks:
            yield _check_archive, vectors.path(number)


def _numbered_labels(folder: LabelFolder) -> Checks:
    yield from ((_check_png, folder.pseudo_label(number)) for number in folder.labelled())


def _numbered_predictions(run: Run, _tokens: Path) -> Checks:
    made = read_json(run.path / "predictions.json")
    last = made.get("model", "stage2").partition("/")[0]
    kinds = {"stage1": made["photos"], "stage2": made["photos"], last: made["photos"], f"{last}_crf": made["crf"]}
    for kind, numbers in kinds.items():
        yield from ((_check_png, run.prediction(kind, number)) for number in numbers)


def _numbered_rounds(run: Run, _tokens: Path) -> Checks:
    trained = [number for number, item in enumerate(read_json(run.rounds_path)["rounds"], 1) if item["trained"]]
    for folder in (LabelFolder(run.path / "rounds" / str(number)) for number in trained):
        yield from ((read_table, path) for path in (folder.candidates_path, folder.kept_path))
        yield MaskCodes.of_file, folder.candidate_masks_path
        yield from ((read_json, folder.path / name) for name in ("round.json", "pseudo_labels.json"))
        yield from _model_files(folder.path)
        yield from _numbered_labels(folder)


def _model_files(folder: Path) -> Checks:
    yield lambda path: _check_model(path.parent), folder / "model.safetensors"
    others = (folder / name for name in ("config.json", "history.jsonl", "samples/samples.json"))
    yield from ((_check_text, path) for path in others if path.exists())


def _check_text(path: Path) -> None:
    if path.suffix == ".json":
        read_json(path)
        return
    with reading(path):
        path.read_text(encoding="utf-8")


def _check_array(path: Path) -> None:
    read_array(path, ndim=3, finite=False)  # the head and the length: the numbers of all photos are too many


def _check_archive(path: Path) -> None:
    with reading(path), zipfile.ZipFile(path) as file:
        file.namelist()


def _check_png(path: Path) -> None:
    """Whether its first and last bytes, the size and the kind of pixels are those of a label map."""
    with reading(path), path.open("rb") as file:
        head = file.read(26)
        file.seek(-len(_PNG_END), 2)
        end = file.read()
        width, height, depth, kind = struct.unpack(">IIBB", head[16:26])
    if head[:8] != _PNG_HEAD or end != _PNG_END:
        raise DamagedFileError(path, "it is no whole PNG")
    if (depth, kind) != (8, 3) or not width * height:
        raise DamagedFileError(path, "it is no label map: a palette PNG of 8 bits")


_NUMBERED: dict[str, Callable[[Run, Path], Checks]] = {
    "foreground": _numbered_foreground,
    "embeddings": _numbered_embeddings,
    "stage1": lambda run, _tokens: _model_files(run.path / "stage1"),
    "pseudo_labels": lambda run, _tokens: _numbered_labels(run),
    "stage2": lambda run, _tokens: _model_files(run.path / "stage2"),
    "rounds": _numbered_rounds,
    "predictions": _numbered_predictions,
}
