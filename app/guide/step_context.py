"""What every step is given: the photo, its masks under the settings on show, and the run with the trained models."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.guide.photo_results import PhotoOnRun, TrainedRun
from app.run_context import RunContext
from maskdistill.config import RunConfig
from maskdistill.datasets import Photo
from maskdistill.proposals.live import LiveProposals


@dataclass(frozen=True)
class StepContext:
    """One moment of the guide."""

    run_context: RunContext
    photos: Sequence[Photo]
    photo: Photo
    config: RunConfig  # of steps 1 to 4
    live: LiveProposals
    trained: TrainedRun | None  # for steps 5 to 8

    @property
    def photo_on_run(self) -> PhotoOnRun | None:
        """The photo with the trained run; None without one."""
        if self.trained is None:
            return None
        return PhotoOnRun(self.trained, self.photo, self.config.proposals, self.config.crf)

    @property
    def on_run(self) -> tuple[TrainedRun, PhotoOnRun]:
        """The trained run, and the photo with it: of steps 5 to 8, which the page draws only where there is one.

        Raises:
            RuntimeError: If there is none.
        """
        photo_on_run = self.photo_on_run
        if self.trained is None or photo_on_run is None:
            raise RuntimeError("A step that needs trained models was drawn without a run that has them.")
        return self.trained, photo_on_run
