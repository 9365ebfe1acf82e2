"""Tables of a run of which a test says only what matters to it."""

from maskdistill.storage.run_folder import write_table
from maskdistill.storage.run_layout import LATER_COLUMNS, find_file

_FILLING = {"count": 0, "side": 9, "class": 1, "whole": 0, "number": 0.5, "flag": True, "text": ""}


def write_whole_table(path, table):
    """Write it with every column that such a file has."""
    kinds = {name: kind.partition(" ")[0] for name, kind in find_file(path)[0].columns.items()}
    lacking = set(kinds) - set(table.columns) - set(LATER_COLUMNS)
    write_table(path, table.assign(**{name: _FILLING[kinds[name]] for name in lacking}))
