"""The flags of the command line, by command."""

import argparse
import os
from pathlib import Path

from maskdistill.cli.settings_help import SetAction
from maskdistill.config import preset_names, setting_names
from maskdistill.stages.stage_list import NAMES

MODELS = ("stage1", "stage2", "final")
LOG_LINES = 40
PROBED_PHOTOS = 32
ENGINES = ("local", "ray")
FORMATS = ("coco", "results", "sam", "yolo", "png", "voc", "fiftyone")  # of masks; parsing loads no reader of them
_PATH_BYTES, _NAME_BYTES = 4096, 255  # as most systems have it


def stage(command: argparse.ArgumentParser) -> None:
    """Of every command that makes stages: photos, settings, and how to work."""
    command.add_argument(
        "--data", help="folder of photos, list of them, tar files, VOC or COCO folder, json, sample, sample-views"
    )
    _settings(command)
    command.add_argument("--limit", type=positive, help="at most so many photos, spread over the source")
    how(command)
    command.add_argument("--quiet", action="store_true", help="no progress")


def how(command: argparse.ArgumentParser) -> None:
    """Of every command that works on many photos: which of them, in how many processes, and where."""
    command.add_argument(
        "--shard", metavar="I/N", help="do the i-th of n parts of a stage's photos; the last to finish merges"
    )
    command.add_argument("--workers", type=not_negative, default=0, help="processes (0: one per core)")
    command.add_argument(
        "--engine",
        type=_engine,
        default=os.environ.get("MASKDISTILL_ENGINE", "local"),
        metavar="{local,ray}",
        help="where photos are worked on (MASKDISTILL_ENGINE, else local)",
    )
    command.add_argument(
        "--address", default="", metavar="HOST:PORT", help="of the Ray cluster (RAY_ADDRESS; else this machine alone)"
    )


def given_masks(command: argparse.ArgumentParser) -> None:
    """Of ``import``."""
    command.add_argument("--data", help="the photos, as of run (those of the run)")
    help = "COCO json, list of results, folder of PNG, YOLO or SAM files, FiftyOne's export (those of the last import)"
    command.add_argument("--masks", metavar="FILE", help=help)
    command.add_argument("--format", choices=("auto", *FORMATS), default="auto", help="of the masks (auto)")
    help = "COCO file that says which photo an image_id of results is (that of --data)"
    command.add_argument("--images", metavar="FILE", help=help)
    command.add_argument("--most", type=not_negative, default=0, help="masks a photo, the best (0: all, up to 990)")
    command.add_argument("--no-crowds", action="store_true", help="leave out masks that are marked as crowds")
    _settings(command)
    command.add_argument("--limit", type=positive, help="at most so many photos, spread over the source")
    command.add_argument("--workers", type=not_negative, default=0, help="processes (0: one per core)")
    command.add_argument("--quiet", action="store_true", help="no progress")


def until(command: argparse.ArgumentParser) -> None:
    """Of ``run``: where to stop."""
    command.add_argument("--until", choices=NAMES, default=NAMES[-1], help="last stage to do")


def evaluate(command: argparse.ArgumentParser) -> None:
    """Of ``evaluate``."""
    command.add_argument("--data", help="other photos with ground truth (the run's own)")
    command.add_argument("--split", default="auto", help="val, train, all; auto: val where there is one")
    command.add_argument("--stage", choices=MODELS, default="final", help="which model (final: of the last round)")
    command.add_argument("--crf", action="store_true", help="refine by the dense CRF")
    command.add_argument("--json", action="store_true", help="one JSON object on standard output")


def predict(command: argparse.ArgumentParser) -> None:
    """Of ``predict``."""
    command.add_argument("--images", required=True, help="folder of photos, or one photo")
    command.add_argument("--out", required=True, type=path, help="folder for the label maps")
    command.add_argument("--stage", choices=MODELS, default="final", help="which model (final: of the last round)")
    command.add_argument("--crf", action="store_true", help="refine by the dense CRF")
    how(command)
    command.add_argument("--quiet", action="store_true", help="no progress")


def export(command: argparse.ArgumentParser) -> None:
    """Of ``export``."""
    formats = ("coco", "voc", "yolo", "huggingface", "atlas", "onnx")
    help = "what the other tool reads; atlas: masks for Embedding Atlas; onnx: the trained model"
    command.add_argument("--format", required=True, choices=formats, help=help)
    command.add_argument("--out", required=True, type=path, help="folder for the export")
    help = "masks of the stages, single objects of the stage instances (coco, yolo), or masks as cut or as the first "
    help += "model draws them (coco)"
    whats = ("masks", "instances", "proposals", "candidates")
    command.add_argument("--what", choices=whats, default="masks", help=help)
    command.add_argument("--kept-only", action="store_true", help="only masks that the filter keeps")
    command.add_argument("--stage", choices=MODELS, default="final", help="onnx: which model")


def guide(command: argparse.ArgumentParser) -> None:
    """Of ``guide``."""
    command.add_argument("--photo", required=True, type=path, metavar="FILE", help="the photo")
    html(command)
    command.add_argument("--preset", choices=preset_names(), help="settings to start from (the run's, else quick)")
    command.add_argument("--backbone", help="as for run; with --run the run's own")
    help = "one setting of steps 1 to 4; help explains all, help=proposals those of a section"
    command.add_argument("--set", action=SetAction, default=[], metavar="A.B=C", help=help)


def report(command: argparse.ArgumentParser) -> None:
    """Of ``report``."""
    html(command)


def html(command: argparse.ArgumentParser) -> None:
    """The page that is written."""
    command.add_argument("--html", required=True, type=path, metavar="OUT", help="the file to write, for any browser")


def decisions(command: argparse.ArgumentParser) -> None:
    """Of ``decisions``."""
    command.add_argument(
        "--csv", type=path, metavar="FILE", help="write every mark there, undone ones too (-: standard output)"
    )


def alternatives(command: argparse.ArgumentParser) -> None:
    """Of ``try``."""
    wanted = command.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--num-classes", type=not_negative, nargs="+", metavar="K", help="numbers of classes to try")
    wanted.add_argument("--curve", action="store_true", help="find out which number of classes is stable")
    command.add_argument("--seed", type=not_negative, default=0, help="seed of the clusterings (0)")
    command.add_argument("--quiet", action="store_true", help="no progress")


def reproduce(command: argparse.ArgumentParser) -> None:
    """Of ``reproduce``."""
    command.add_argument("experiment", choices=("voc", "coco20k"), help="which of the paper's")
    command.add_argument("--root", type=path, default=Path("reproduce"), help="folder for all of it (reproduce)")
    command.add_argument("--dry-run", action="store_true", help="say what is there, what is missing, what it takes")
    command.add_argument("--fetch-only", action="store_true", help="fetch and check the files, then stop")
    command.add_argument("--data", type=path, help="VOC2012, or a folder with train2014 and annotations, if unpacked")
    command.add_argument("--trainaug", type=path, help="voc: folder of SBD's label maps as PNG, perhaps trainaug.txt")
    command.add_argument("--seeds", type=positive, default=3, help="clustering seeds (3)")
    command.add_argument("--preset", choices=preset_names(), help="settings to start from (paper-voc, paper-coco)")
    command.add_argument("--set", action=SetAction, default=[], metavar="A.B=C", help="one setting; help explains all")
    command.add_argument("--limit", type=positive, help="at most so many photos, for a try")
    command.add_argument("--workers", type=not_negative, default=0, help="processes (0: one per core)")
    command.add_argument("--quiet", action="store_true", help="no progress")


def probe_features(command: argparse.ArgumentParser) -> None:
    """Of ``probe-features``."""
    command.add_argument("--data", required=True, help="folder of photos, VOC or COCO folder, sample")
    command.add_argument("--backbone", help="auto, focus_vits14, dino_vits16, ..., a timm name, or a file of weights")
    command.add_argument("--preset", choices=preset_names(), help="settings to start from (quick)")
    command.add_argument("--set", action=SetAction, default=[], metavar="A.B=C", help="one setting; help explains all")
    command.add_argument("--limit", type=positive, default=PROBED_PHOTOS, help=f"photos, spread ({PROBED_PHOTOS})")
    command.add_argument(
        "--blocks", type=not_negative, nargs="+", default=[], metavar="N", help="blocks (the later half; 0: all)"
    )
    kinds = ("tokens", "queries", "keys", "values")
    command.add_argument("--kinds", choices=kinds, nargs="+", default=[], help="kinds of feature (all there are)")
    command.add_argument("--out", type=path, help="folder for probe.json; started again, it goes on where it was")
    command.add_argument("--quiet", action="store_true", help="no progress")


def job_id(command: argparse.ArgumentParser) -> None:
    """Of ``jobs``: which one."""
    command.add_argument("id", nargs="?", type=int, metavar="ID", help="number of the job (the newest that fits)")


def as_json(command: argparse.ArgumentParser) -> None:
    """Of ``jobs list`` and ``jobs show``."""
    command.add_argument("--json", action="store_true", help="JSON on standard output")


def log(command: argparse.ArgumentParser) -> None:
    """Of ``jobs logs``."""
    command.add_argument("--follow", action="store_true", help="print on until the job has ended or you press Ctrl-C")
    command.add_argument("--lines", type=positive, default=LOG_LINES, help=f"how many of the last lines ({LOG_LINES})")


def app(command: argparse.ArgumentParser) -> None:
    """Of ``app``."""
    command.add_argument("--runs", type=path, metavar="DIR", help="folder of the runs ($MASKDISTILL_RUNS, else runs)")
    command.add_argument("--port", type=not_negative, default=8501, help="where it listens (8501)")
    command.add_argument("--address", default="127.0.0.1", help="0.0.0.0 opens it to others (127.0.0.1)")
    command.add_argument(
        "--roots",
        type=path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="nothing outside these folders is read or written ($MASKDISTILL_ROOTS)",
    )
    command.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="a name that the server is called by as well"
    )
    command.add_argument("streamlit", nargs="*", metavar="-- FLAG", help="flags of Streamlit, after two dashes")


def _settings(command: argparse.ArgumentParser) -> None:
    command.add_argument("--preset", choices=preset_names(), help="settings to start from (quick)")
    command.add_argument("--backbone", help="auto, focus_vits14, dino_vits16, ..., a timm name, or a file of weights")
    command.add_argument("--num-classes", type=not_negative, help="K, the number of clusters (0: suggested by a curve)")
    command.add_argument("--seed", type=not_negative, help="seed of every random choice (0)")
    command.add_argument(
        "--set",
        action=SetAction,
        default=[],
        metavar="A.B=C",
        help=f"one setting; help explains all, help=filter those of a section: {', '.join(setting_names())}",
    )


def path(text: str) -> Path:
    """A path that a system can take; an empty one, as of a variable that is not set, would mean the working folder."""
    if not text.strip() or "\0" in text:
        raise argparse.ArgumentTypeError(f"must be a path, got {text!r}")
    if len(os.fsencode(text)) >= _PATH_BYTES or any(len(os.fsencode(part)) > _NAME_BYTES for part in Path(text).parts):
        raise argparse.ArgumentTypeError(f"must be a path, got one that is too long: '{text[:40]}…'")
    return Path(text)


def positive(text: str) -> int:
    """A whole number from 1."""
    value = not_negative(text)
    if value == 0:
        raise argparse.ArgumentTypeError("must be at least 1, got 0")
    return value


def not_negative(text: str) -> int:
    """A whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, got '{text}'")
    return int(text)


def _engine(text: str) -> str:
    if text not in ENGINES:
        raise argparse.ArgumentTypeError(f"choose from {', '.join(ENGINES)}, got '{text}'")
    return text
