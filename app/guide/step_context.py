"""What every step is given: the photo, its masks under the settings on show, and the run with the trained models."""

from dataclasses import dataclass

from app.cache import Live
from app.guide.photo_results import Subject, Trained
from app.run_context import Workspace
from maskdistill.config import RunConfig
from maskdistill.datasets import Photo


@dataclass(frozen=True)
class Here:
    """One moment of the guide."""

    workspace: Workspace
    photos: list[Photo]
    photo: Photo
    config: RunConfig  # of steps 1 to 4
    live: Live
    trained: Trained | None  # for steps 5 to 8

    @property
    def subject(self) -> Subject | None:
        """The photo as the trained run looks at it; None without one."""
        if self.trained is None:
            return None
        return Subject(self.trained, self.photo, self.config.proposals, self.config.crf)
