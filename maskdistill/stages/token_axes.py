"""The axes of compact tokens, found on a sample of the photos before the tokens of any are stored."""

import filecmp
import shutil
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np

from maskdistill.config import RunConfig
from maskdistill.datasets import PhotoSource
from maskdistill.files import replace_atomically
from maskdistill.proposals.foreground import fit_projection
from maskdistill.stages.pool import Workers, map_photos
from maskdistill.stages.tasks import Task, WorkerSpec, leave_out
from maskdistill.storage.photo_arrays import ArrayStore
from maskdistill.storage.progress import Reporter
from maskdistill.storage.read_files import DamagedFileError, MissingFileError
from maskdistill.storage.run_folder import Run
from maskdistill.storage.token_store import NUM_AXES, TOKEN_AXES, TokenAxes

SAMPLE_PHOTOS = 128


def find_axes(
    run: Run,
    source: PhotoSource,
    config: RunConfig,
    folder: Path,
    workers: Workers,
    report: Callable[[int], Reporter],
) -> None:
    """See that compact tokens have axes, in their folder and in the run, where photos of elsewhere are read by them.

    Axes that are lost or damaged are found anew, and the tokens that lay on them go. Tokens of 16 bits have none.

    Args:
        run: Run folder, which nobody else is at work on.
        source: Photos.
        config: Settings, with the backbone chosen.
        folder: Of the tokens.
        workers: Who reads the sample.
        report: Progress, from how many photos there are to read.
    """
    if config.features.tokens != "compact":
        run.token_axes_path.unlink(missing_ok=True)
        return
    path = folder / TOKEN_AXES
    if not _are_whole(path):
        for old in folder.glob("[0-9]*"):
            shutil.rmtree(old)  # tokens on axes that are gone
        store = ArrayStore(folder / "sample")
        spec = WorkerSpec("maskdistill.stages.worker:SampleWorker", run.path, config, {"sample": store.folder})
        sample = _draw(source, store, partial(_write, spec, workers, report))
        if sample is None:  # no photo can be read, so there will be no tokens
            return
        mean, basis = fit_projection(sample, NUM_AXES)
        TokenAxes.of_sample(sample, mean, basis / np.linalg.norm(basis, axis=0)).save(path)
        shutil.rmtree(store.folder)
    if not run.token_axes_path.is_file() or not filecmp.cmp(path, run.token_axes_path, shallow=False):
        replace_atomically(run.token_axes_path, partial(shutil.copyfile, path))


def _are_whole(path: Path) -> bool:
    try:
        TokenAxes.load(path)
    except (DamagedFileError, MissingFileError):
        return False
    return True


def _draw(source: PhotoSource, store: ArrayStore, write: Callable[[list[Task]], None]) -> np.ndarray | None:
    """(N, D) float16 tokens of photos evenly spread, of any others where none of these can be read."""
    total = len(source.photos)
    count = min(total, SAMPLE_PHOTOS)
    for numbers in ([number * total // count for number in range(count)], range(total)):
        write([(number, source.photos[number]) for number in store.missing(numbers)])
        found = [store.read(number)[0] for number in numbers if store.path(number).is_file()]
        if found:
            return np.concatenate(found)
    return None


def _write(spec: WorkerSpec, workers: Workers, report: Callable[[int], Reporter], tasks: list[Task]) -> None:
    with report(len(tasks)) as reporter, closing(map_photos(spec, tasks, workers, on_crash=leave_out)) as results:
        for _ in results:
            reporter.advance()
