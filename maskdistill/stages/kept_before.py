"""What a run had made before people mended masks: kept beside it, and put back once they take all of that back.

Files are replaced in one step, never changed, so that a second name for a file is as good as a copy of it.
"""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from maskdistill.files import link_file, replace_atomically, write_json
from maskdistill.stages.stage_list import NAMES
from maskdistill.storage.read_files import read_json_if_there
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_layout import RUN_FILES

_AFTER = NAMES[NAMES.index("repairs") + 1 :]
_APPENDED = ".jsonl"  # the only files that grow in place
_RECORD = "record.json"  # written last: without it nothing is kept


def keep_before(run: Run) -> None:
    """Keep all that the stages after the masks have made, unless that is done, or they saw mended masks already."""
    folder = run.repairs.before_path
    record = read_json_if_there(run.stage_path("embeddings"))
    if record is None or "repairs" in record["made_from"].get("from", {}) or (folder / _RECORD).is_file():
        return
    shutil.rmtree(folder, ignore_errors=True)
    for path in _files(run):
        replace_atomically(folder / path.relative_to(run.path), partial(_same, path))
    write_json(folder / _RECORD, {"fingerprint": record["fingerprint"]})


def put_back(run: Run) -> None:
    """Put it back; what was made since goes. Which of it still holds, its fingerprints say."""
    folder = run.repairs.before_path
    if not (folder / _RECORD).is_file():
        return
    for name in _AFTER:  # until all is in place it is of neither kind
        run.stage_path(name).unlink(missing_ok=True)
    kept = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} - {Path(_RECORD)}
    for path in list(_files(run)):
        if path.relative_to(run.path) not in kept:
            path.unlink()
    for path in sorted(kept, key=lambda path: path.parts[0] == "stages"):  # the records last
        replace_atomically(run.path / path, partial(_same, folder / path))


def _files(run: Run) -> Iterator[Path]:
    """Files of the stages after the masks, and the records of these stages; no features, which are kept by shape."""
    for file in RUN_FILES:
        if file.stage in _AFTER and not file.pattern.startswith("features/"):
            yield from (path for path in run.path.glob(file.pattern) if path.is_file() and path.suffix != ".arrow")
    yield from (path for name in _AFTER if (path := run.stage_path(name)).is_file())


def _same(source: Path, target: Path) -> None:
    if source.suffix == _APPENDED:
        shutil.copyfile(source, target)
    else:
        link_file(source, target)
