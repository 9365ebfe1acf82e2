"""A run for another seed: what was made before the clusters is taken over, for no seed changes it."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from maskdistill.files import link_file

_MADE = {"proposals.json", "foreground.json", "embeddings.json"}  # of stages/
_LATER = ("stage1", "stage2", "rounds*", "predictions*", "pseudo_labels*", "clusters*", "classes*", "candidates*")
_OTHERS = (
    "kept*",
    "metrics*",
    "embeddings.npy",
    "space.npz",
    "umap*",
    "run.sqlite*",
    "logs",
    "instances*",
    "repairs",
    ".*.lock",
)
_REPORTS = ("evaluation", "reproduce.json", "progress.json")


def copy_before_clusters(made: Path, path: Path) -> None:
    """Links to the files of a run that were made before the clusters, and its settings; copies where there are none.

    Args:
        made: The run.
        path: Folder of the new one, which must not exist. A copy that was broken off leaves nothing there.
    """

    def left_out(folder: str, names: list[str]) -> Iterable[str]:
        if Path(folder) == made / "stages":
            return set(names) - _MADE
        return shutil.ignore_patterns(*_LATER, *_OTHERS, *_REPORTS)(folder, names) if Path(folder) == made else ()

    draft = path.with_name(f".{path.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(made, draft, copy_function=link_file, ignore=left_out)
    draft.rename(path)
