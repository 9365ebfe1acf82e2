"""Where what a model says of the training photos lies, and the label maps that are made of it."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from maskdistill.storage.read_files import MissingFileError, read_json, read_table
from maskdistill.storage.run_layout import HIDDEN_COLUMNS


class LabelFolder:
    """Where a model's candidates for the training photos lie, which of them are kept, and the label maps."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @property
    def candidates_path(self) -> Path:
        """candidates.parquet: what the model predicts for each mask of the training photos, and its code."""
        return self.path / "candidates.parquet"

    @property
    def candidate_masks_path(self) -> Path:
        """candidates.json: COCO, the masks as the model draws them; a copy of the table, where these are few."""
        return self.path / "candidates.json"

    @property
    def kept_path(self) -> Path:
        """kept.parquet: mask_id, kept, rule, and what people decided."""
        return self.path / "kept.parquet"

    def candidates(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """One row a candidate: mask_id, image, cluster, label, and the signals that the filter reads.

        Args:
            columns: Which of them; None for all.
        """
        return self._table(self.candidates_path, columns)

    def kept(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """mask_id, kept, the rule that decided, and people's decision and relabel (class given, 0 for none).

        Args:
            columns: Which of them; None for all.
        """
        table = self._table(self.kept_path, columns)
        return table if "relabel" in table else table.assign(decision=0, relabel=0)  # of a filter without decisions

    def pseudo_label(self, number: int) -> Path:
        """Label map of a photo, palette PNG."""
        return self.path / "pseudo_labels" / f"{number // 1000:05d}" / f"{number:06d}.png"

    def labelled(self) -> list[int]:
        """Numbers of the photos that have a label map, rising."""
        return read_json(self.path / "pseudo_labels.json")["photos"]

    def _table(self, path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
        try:
            return read_table(path, columns, without=HIDDEN_COLUMNS.get(path.name, ()))
        except FileNotFoundError as error:
            raise MissingFileError(path) from error
