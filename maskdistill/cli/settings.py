"""The settings that a command line asks for."""

import argparse
from typing import TYPE_CHECKING

from maskdistill.config import RunConfig, load_preset

if TYPE_CHECKING:
    from maskdistill.storage.run_folder import Run


def read_settings(options: argparse.Namespace, run: "Run") -> tuple[RunConfig, str]:
    """Settings of a command, and the name of their preset.

    ``--preset`` starts from that preset; without it an existing run keeps its own settings, and a new one takes
    ``quick``. ``--backbone``, ``--seed`` and ``--set`` change single values of that.
    """
    known = {}  # transformer of the settings that are kept
    if options.preset is None and run.exists:
        info = run.info()
        config, preset, known = RunConfig.from_dict(info["config"]), info["preset"], info.get("backbone", {})
    else:
        preset = options.preset or "quick"
        config = load_preset(preset)
    overrides = list(options.set)
    if options.seed is not None:
        overrides.insert(0, f"seed={options.seed}")
    if options.num_classes is not None:
        overrides.insert(0, f"clusters.num_classes={options.num_classes}")
    if options.backbone is not None and options.backbone not in (known.get("requested"), known.get("name")):
        overrides[:0] = [f"features.backbone={options.backbone}", "features.shorter_side=0"]
    return config.with_overrides(overrides), preset
