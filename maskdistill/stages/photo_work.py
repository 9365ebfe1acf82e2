"""The photos of a stage after the masks: what is done is kept, and several processes can share what is left."""

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from maskdistill.errors import RunError
from maskdistill.stages.shards import Parts, Shard
from maskdistill.stages.soundness import is_finished
from maskdistill.stages.tasks import PhotoResult, Task
from maskdistill.storage.progress import Reporter
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_lock import RunBusyError, hold_run, hold_shard, is_shard_held

if TYPE_CHECKING:
    from maskdistill.stages.context import Context

logger = logging.getLogger(__name__)

BEGIN_PATIENCE = 5.0  # seconds until a shard that waits asks whether it is for another of the same work
MERGE_PATIENCE = 60.0  # seconds that the last shard waits while another last one merges

Work = Callable[[list[Task]], Generator[PhotoResult, None, None]]


class LeftToOthersError(RunError):
    """This process did its share of a stage; other processes have photos left, or go on with it."""


@dataclass
class Share:
    """One process's part of the photos, and the locks that let others do theirs between ``begin`` and ``end``.

    Outside of these it is alone: what is made once, such as a model that is trained, is made there, and others of the
    same work wait for that.

    Raises:
        RunBusyError: If a process is at work on something else, or on this shard.
    """

    run: Run
    stage: str
    key: str  # fingerprint of all that the stage is made from
    shard: Shard
    begun: bool = False  # whether there were photos to share
    _of_run: ExitStack = field(default_factory=ExitStack)
    _of_shard: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> "Share":
        self._wait_for_run()
        with self._of_run as held:  # given back where another process makes this shard
            self._of_shard.enter_context(hold_shard(self.run.path, self.key, str(self.shard)))
            self._of_run = held.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._of_shard.close()
        self._of_run.close()

    def begin(self) -> None:
        """What must be made by one alone is made: the others may begin."""
        self.begun = True
        self._of_run.close()

    def end(self, left: int) -> None:
        """Be alone again, to put together what all have made.

        Raises:
            LeftToOthersError: If there are photos left to others, or another does it.
        """
        if left:
            raise LeftToOthersError(f"{left} photos left to other shards.")
        try:
            self._of_run.enter_context(hold_run(self.run.path, masks=self.key, patience=MERGE_PATIENCE))
        except RunBusyError as error:
            raise LeftToOthersError("All photos are done; another shard goes on with them.") from error

    def _wait_for_run(self) -> None:
        """Hold the run, however long another shard of the same work does."""
        told = False
        while True:
            try:
                self._of_run.enter_context(hold_run(self.run.path, masks=self.key, patience=BEGIN_PATIENCE))
                return
            except RunBusyError:
                if not is_shard_held(self.run.path, self.key):
                    raise
            if not told:
                logger.warning("%s: another shard makes what all need; this one waits for it.", self.stage)
            told = True


def do_photos(
    context: "Context",
    stage: str,
    tasks: Sequence[Task],
    work: Work,
    *,
    made: Callable[[int], bool] = lambda _: True,
) -> list[dict[str, Any]]:
    """``do_tasks`` for a stage of a run."""
    sizes = [(photo.height, photo.width) for photo in context.source.photos]
    parts = Parts(context.run.parts_path(stage, context.key), sizes)
    return do_tasks(parts, tasks, work, partial(context.reporter, stage), share=context.share, made=made)


def do_tasks(
    parts: Parts,
    tasks: Sequence[Task],
    work: Work,
    report: Callable[[int, int], Reporter],
    *,
    share: Share | None = None,
    made: Callable[[int], bool] = lambda _: True,
) -> list[dict[str, Any]]:
    """Do what is left of the photos, as far as they are this process's; killed and started again it goes on.

    Args:
        parts: Where results are kept.
        tasks: The number of a photo and what else its work is given, of every photo that has work.
        work: Does the tasks that it is given, in any order.
        report: Progress, from how many photos there are and how many are done.
        share: This process's part of the photos; None: all.
        made: Whether what the work wrote of a photo beside its result is still there.

    Returns:
        ``PhotoResult`` as plain values of all photos of the source, by number; empty of those without a task.

    Raises:
        LeftToOthersError: If photos are left to other processes, or another of them goes on.
    """
    task_of = {task[0]: task for task in tasks}
    done = {number: _read(parts, number, task_of, made) for number in parts.of(share.shard if share else Shard())}
    mine = [photo for number in done for photo in parts.photos[number]]
    left = [task_of[photo] for number in done for photo in parts.photos[number] if photo not in done[number]]
    if share:
        share.begin()
    with report(len(mine), len(mine) - len(left)) as reporter:
        parts.keep(done, work(left), reporter.advance)
    if share:
        done = {number: _read(parts, number, task_of, made, last=True) for number in range(len(parts.photos))}
        share.end(len(parts.sizes) - sum(map(len, done.values())))
        if is_finished(share.run, share.stage, share.key):
            raise LeftToOthersError("All photos are done; another shard put them together.")
    return [item for number in sorted(done) for _, item in sorted(done[number].items())]


def _read(
    parts: Parts, number: int, task_of: dict[int, Task], made: Callable[[int], bool], *, last: bool = False
) -> dict[int, dict[str, Any]]:
    """What there is of a part, by photo. A photo whose file was missed counts once all were tried."""
    found = {
        photo: item
        for photo, item in parts.read(number).items()
        if photo in task_of and (last or not item.get("missed")) and (item["error"] or made(photo))
    }
    empty = {photo: asdict(PhotoResult(photo)) for photo in parts.photos[number] if photo not in task_of}
    return found | empty
