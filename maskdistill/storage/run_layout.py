"""Which stage makes each file of a run, by which command it is made anew, and what it must hold to be used.

Shapes of JSON are written as JSON is: a type, or several that will do; ``[shape]`` for a list; ``{"name": shape}`` for
the fields that must be of a shape if they are there, those under ``NEEDED`` must be; ``{str: shape}`` for any fields; a
``range`` for whole numbers.
"""

import shlex
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

NEEDED = "!"
COUNT = range(2**53)
CLASS = range(255)  # 0 where there is none
_CLASSES = range(1, 255)
_NUMBER_OR_NONE = (float, None)

# Columns of tables. "id": whole numbers from 0, each once, "rising" if in order; "count": the same, more than once;
# "side": from 1.
Columns = dict[str, str]
BOX_COLUMNS = tuple(f"bbox_{side}" for side in "xywh")  # x, y, width, height in pixels
_BOX = dict.fromkeys(BOX_COLUMNS, "count")
_CLUSTERED: Columns = {
    "mask_id": "rising",
    "cluster": "class",
    "distance": "number",
    "margin": "number",
    "fitted": "flag",
}
_SIGNALS = ("score", "iou", "agreement", "distance", "area", "border", "proposal_score")
_CANDIDATES: Columns = {
    "mask_id": "id",
    "image_id": "text",
    "image": "count",
    "origin": "text",
    "cluster": "class",
    "label": "class",
    **dict.fromkeys((*_SIGNALS, "object_score"), "number or none"),
}
_KEPT: Columns = {"mask_id": "id", "kept": "flag", "rule": "text", "decision": "whole", "relabel": "class"}

# What a table of masks holds of each besides what people look at: number, height and width of its photo, its area in
# pixels, COCO's compressed run-length code. Runs of earlier versions have these in the COCO file alone.
CODE_COLUMNS = ("image", "height", "width", "pixels", "counts")
HIDDEN_COLUMNS = {  # of tables that people are given
    "masks.parquet": CODE_COLUMNS,
    "candidates.parquet": tuple({*BOX_COLUMNS, *CODE_COLUMNS} - {"image"}),
}
LATER_COLUMNS = ("decision", "relabel", "object_score")  # that runs of earlier versions, or of other settings, lack

_PHOTOS = {"photos": [COUNT]}
_CODE = {NEEDED: ("size", "counts"), "size": [range(1, 2**31)], "counts": str}
_ITEM = {
    NEEDED: ("id", "image_id"),
    "id": COUNT,
    "image_id": COUNT,
    "bbox": [float],
    "segmentation": _CODE,
    "score": float,
    "area": float,
    "parts": {str: float},
    "pool": int,
}
_COCO = {
    NEEDED: ("annotations",),
    "annotations": [_ITEM],
    "images": [{"id": COUNT, "file_name": str, "height": COUNT, "width": COUNT}],
}
_CURVE = {
    "values": [COUNT],
    "agreement": [float],
    "silhouette": [_NUMBER_OR_NONE],
    "inertia": [float],
    "suggested": COUNT,
    "plateau": [COUNT],
}
_MEASURES = {
    "miou": _NUMBER_OR_NONE,
    "iou": {str: _NUMBER_OR_NONE},
    "pixel_accuracy": _NUMBER_OR_NONE,
    "matching": {str: str},
    "num_images": COUNT,
    "coverage": _NUMBER_OR_NONE,
    "confusion": [[COUNT]],
    "majority_miou": _NUMBER_OR_NONE,
    "num_training": COUNT,
}
_COUNTS = {
    **dict.fromkeys(("photos", "training_photos", "masks", "candidates", "kept", "pseudo_labels"), COUNT),
    "rules": {str: COUNT},
}
_BACKBONE = {"requested": str, "name": str, "reason": str, "weights": str}
_RECORD = {
    "fingerprint": str,
    "made_from": {
        "stage": str,
        "code": int,
        "from": {str: str},
        "settings": {str: {str: object}},
        "choice": {str: float},
        "seed": int,
        "photos": str,
        "num_photos": COUNT,
        "weights": [str],
        "features": {str: object},
        "proposals": {str: object},
        "crf": ({str: object}, None),
        "decisions": str,
        "support": (str, None),
    },
    "backbone": _BACKBONE,
    "versions": {str: str},
    "missed": [str],
    "masks_per_photo": range(1, 2**31),
    "numbering": str,
    "own": str,
}
_SAMPLES = {
    "training": str,
    "num_epochs": COUNT,
    "num_classes": _CLASSES,
    "photos": [{"number": COUNT, "id": str, "height": range(1, 2**31), "width": range(1, 2**31)}],
}
_TRAINING = {"identity": str}
_ROUND = {"key": str, "candidates": COUNT, "kept": COUNT, "photos": COUNT, "agreement": float, "trained": bool}
_INFO = {
    "format": COUNT,
    "data": str,
    "preset": str,
    "config": {str: object},
    "limit": COUNT,
    "backbone": _BACKBONE,
    "source": {"kind": str, "classes": [str], "has_labels": bool},
    "versions": {str: str},
    "imported": {
        NEEDED: ("from", "format", "digest"),
        **dict.fromkeys(("from", "format", "digest", "scores"), str),
        **dict.fromkeys(("masks", "photos"), COUNT),
        "categories": [str],
        "notes": [str],
        "refused": {str: str},
        "left_out": [{NEEDED: ("reason", "count"), "reason": str, "count": COUNT, "first": str}],
    },
}
_CLUSTERS = {
    "num_classes": _CLASSES,
    "embedding": str,
    "dimensions": COUNT,
    "agreement": _NUMBER_OR_NONE,
    "doubtful": {str: float},
    "left_out": [_CLASSES],
    "inertias": [float],
    "names": {str: str},
    "num_classes_curve": (_CURVE, None),
    "embeddings": [{"name": str, "dimensions": COUNT, str: (str, float, bool, None)}],
    "clusters": [
        {
            "cluster": _CLASSES,
            "size": COUNT,
            "mean_distance": _NUMBER_OR_NONE,
            "mean_cosine": _NUMBER_OR_NONE,
            "exemplars": [COUNT],
            "borderline": [COUNT],
        }
    ],
}
_CLASSES_JSON = {
    "num_classes": _CLASSES,
    "used": [_CLASSES],
    "clusters": str,
    "adopted": COUNT,
    "names": {str: str},
    "excluded": [_CLASSES],
    "rejected": [COUNT],
    "left_out": [COUNT],
    "num_edits": COUNT,
}
_METRICS = {
    "ground_truth": bool,
    "split": str,
    "matching": str,
    "classes": [str],
    "counts": _COUNTS,
    "reported": {str: (_MEASURES, None)},
    "training": {str: (_MEASURES, None)},
    "masks": {str: _NUMBER_OR_NONE},
    "cut_masks": {str: _NUMBER_OR_NONE},
    "instances": {str: _NUMBER_OR_NONE},
    "repairs": {
        **dict.fromkeys(("masks", "better", "worse", "new"), COUNT),
        **dict.fromkeys(("iou_before", "iou_after", "iou_new"), _NUMBER_OR_NONE),
        "counts": {str: COUNT},
    },
    "clustering_seeds": ({"miou": [float], "mean": float, "std": float}, None),
}
_PARTS = [
    {
        NEEDED: ("number", "annotations", "problem", "error"),
        "number": COUNT,
        "annotations": [_ITEM],
        "problem": (str, None),
        "error": (str, None),
        "missed": bool,
    }
]


@dataclass(frozen=True)
class RunFile:
    """Files of a run that have one stage and one form."""

    pattern: str  # inside the run; * stands for one name
    stage: str  # that makes it; empty for what no stage makes, * for the one that the file is named after
    shape: Any = object  # of JSON
    columns: Columns | None = None  # of a table

    def run_of(self, path: Path) -> Path | None:
        """The run that ``path`` would be in as such a file."""
        return path.parents[self.pattern.count("/")] if path.match(self.pattern) else None


RUN_FILES = (
    RunFile("run.json", "", _INFO),
    RunFile("run.copy.json", "", _INFO),
    RunFile("stages/*.json", "*", _RECORD),
    RunFile("rounds/*/candidates.parquet", "rounds", columns=_CANDIDATES),
    RunFile("rounds/*/candidates.json", "rounds", _COCO),
    RunFile("rounds/*/kept.parquet", "rounds", columns=_KEPT),
    RunFile("rounds/*/pseudo_labels.json", "rounds", _PHOTOS),
    RunFile("rounds/*/pseudo_labels/*/*.png", "rounds"),
    RunFile("rounds/*/round.json", "rounds", _ROUND),
    RunFile("rounds/*/config.json", "rounds", _TRAINING),
    RunFile("rounds/*/samples/samples.json", "rounds", _SAMPLES),
    RunFile("rounds/*/samples/*/*", "rounds"),
    RunFile("rounds/*/*", "rounds"),
    RunFile("parts/*/*.json", "proposals", _PARTS),
    RunFile("images.parquet", "proposals", columns={
        "id": "text", "path": "text", "readable": "flag", "reason": "text or none", "problem": "text or none",
        "height": "side or none", "width": "side or none", "digest": "text or none", "split": "text or none",
    }),
    RunFile("masks.parquet", "proposals", columns={
        "mask_id": "id", "image_id": "text", "rank": "count", "score": "number", "area": "number", **_BOX,
    }),
    RunFile("proposals.json", "proposals", _COCO),
    RunFile("pool/*/*/*.npz", "proposals"),
    RunFile("imported/masks.parquet", "import", columns={
        "photo": "text", "place": "count", "counts": "text", "score": "number or none", "category": "text",
        "name": "text",
    }),
    RunFile("foreground.json", "foreground", {
        NEEDED: ("used",), "used": bool, "why": str, "from": str,
        **dict.fromkeys(("photos", "masks", "recut", "trained_on"), COUNT),
    }),
    RunFile("foreground/masks.parquet", "foreground", columns={
        "mask_id": "id", "image_id": "text", "rank": "count", "score": "number", "area": "number", **_BOX,
        "recut": "flag", "cut_id": "whole",
    }),
    RunFile("foreground/masks.json", "foreground", _COCO),
    RunFile("foreground/heads.npz", "foreground"),
    RunFile("foreground/maps/*/*.npy", "foreground"),
    RunFile("repairs/record.json", "repairs", dict.fromkeys(("mended", "new", "gone", "waiting"), COUNT)),
    RunFile("repairs/masks.parquet", "repairs", columns={
        "mask_id": "id", "image_id": "text", "rank": "count", "score": "number", "area": "number", **_BOX,
        "mended": "flag",
    }),
    RunFile("repairs/masks.json", "repairs", _COCO),
    RunFile("repairs/vectors/*/*/*.json", "repairs", [str]),
    RunFile("repairs/vectors/*/*/*.npz", "repairs"),
    RunFile("repairs/thumbs/*/*/*.jpg", "repairs"),
    RunFile("repairs/before/record.json", "repairs", {"fingerprint": str}),
    RunFile("repairs/clusters/record.json", "repairs", _RECORD),
    RunFile("repairs/clusters/*", "repairs"),
    RunFile("features/*/info.json", "embeddings", {"patch_size": range(1, 1025), "blocks": [COUNT]}),
    RunFile("features/*/axes.npz", "embeddings"),
    RunFile("features/*/*/*", "embeddings"),
    RunFile("token_axes.npz", "embeddings"),
    RunFile("embeddings.json", "embeddings", {"folder": str, "errors": {str: str}, "missed": [str]}),
    RunFile("embeddings.npy", "clusters"),
    RunFile("space.npz", "clusters"),
    RunFile("clusters.parquet", "clusters", columns=_CLUSTERED),
    RunFile("clusters.json", "clusters", _CLUSTERS),
    RunFile("classes.parquet", "classes", columns=_CLUSTERED),
    RunFile("classes.json", "classes", _CLASSES_JSON),
    *(RunFile(f"{stage}/config.json", stage, _TRAINING) for stage in ("stage1", "stage2")),
    *(RunFile(f"{stage}/samples/samples.json", stage, _SAMPLES) for stage in ("stage1", "stage2")),
    *(RunFile(f"{stage}/samples/*/*", stage) for stage in ("stage1", "stage2")),
    *(RunFile(f"{stage}/*", stage) for stage in ("stage1", "stage2")),
    RunFile("instances.parquet", "instances", columns={
        "mask_id": "id", "image_id": "text", "rank": "count", "score": "number", "area": "number", **_BOX,
        "label": "class",
    }),
    RunFile("instances.json", "instances", _COCO),
    RunFile("instances/record.json", "instances", {
        NEEDED: ("used",), "used": bool, "why": str, "head": str, "scales": [float], "folds": [(COUNT, None)],
        **dict.fromkeys(("photos", "instances", "composites"), COUNT),
    }),
    *(RunFile(f"instances/{part}config.json", "instances", _TRAINING) for part in ("", "*/")),
    *(RunFile(f"instances/{part}composites/*/*.npz", "instances") for part in ("", "*/")),
    *(RunFile(f"instances/{part}*", "instances") for part in ("", "*/")),
    RunFile("candidates.parquet", "candidates", columns=_CANDIDATES),
    RunFile("candidates.json", "candidates", _COCO),
    RunFile("kept.parquet", "filter", columns=_KEPT),
    RunFile("pseudo_labels.json", "pseudo_labels", _PHOTOS),
    RunFile("pseudo_labels/*/*.png", "pseudo_labels"),
    RunFile("rounds.json", "rounds", {"stage2": str, "model": str, "rounds": [_ROUND]}),
    RunFile("predictions.json", "predictions", {"photos": [COUNT], "crf": [COUNT], "model": str}),
    RunFile("predictions/*/*/*.png", "predictions"),
    RunFile("metrics.json", "evaluation", _METRICS),
    RunFile("mask_truth.parquet", "evaluation", columns={
        "mask_id": "id", "truth": "whole", "truth_share": "number or none", "truth_iou": "number or none",
        "seen": "flag",
    }),
    RunFile("photo_counts.parquet", "evaluation", columns={
        "number": "count", "kind": "text", "truth": "count", "label": "count", "pixels": "count",
    }),
    RunFile("photo_changes.parquet", "evaluation", columns={
        "number": "count", "first": "text", "second": "text", "changed": "number",
    }),
    RunFile("umap_xy.npy", "projection"),
    RunFile("trials/curve.json", "", {"clusters": str, "curve": _CURVE}),
    RunFile("trials/*.npz", ""),
    RunFile("thumbs/*/*/*.jpg", "proposals"),
    RunFile("progress.json", ""),
    RunFile("source.parquet", ""),
)  # fmt: skip
_COMMANDS = {
    "import": "import",
    "proposals": "propose",
    "foreground": "foreground",
    "repairs": "repairs",
    "embeddings": "embed",
    "clusters": "cluster",
    "classes": "cluster",
    "stage1": "train-stage1",
    "instances": "instances",
    "candidates": "train-stage1",
    "filter": "filter",
    "pseudo_labels": "pseudo-label",
    "stage2": "train-stage2",
    "projection": "project",
}
_SUPPORT = "support"  # folder of the run inside a run that holds the second folder's masks


def find_file(path: Path) -> tuple[RunFile | None, Path]:
    """What a path inside a run is, and that run; None and its folder for what is in no run."""
    path = path.absolute()
    found = _find_candidates(path)
    sure = [(file, run) for file, run in found if (run / "run.json").exists()]
    if not found:
        return None, path.parent
    file, run = (sure or found)[0]
    if file.stage == "*":
        file = replace(file, stage=path.stem)
    if run.name == _SUPPORT and (run.parent / "run.json").exists():
        return replace(file, stage="embeddings"), run.parent
    return file, run


@lru_cache(maxsize=1024)
def _find_candidates(path: Path) -> list[tuple[RunFile, Path]]:
    """What a path may be by its name, and the run that it would be in; pages ask for the same few again and again."""
    return [(file, run) for file in RUN_FILES if (run := file.run_of(path))]


def command_of(stage: str, run: Path) -> str:
    """What a person types to make a stage anew if its files are damaged or gone."""
    flags = f"--run {shlex.quote(str(run))}"
    return (
        f"maskdistill {_COMMANDS[stage]} {flags}" if stage in _COMMANDS else f"maskdistill run {flags} --until {stage}"
    )
