"""``maskdistill probe-features``: which block and kind of feature to take for a transformer, on one's own photos."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from maskdistill.config import load_preset
from maskdistill.datasets import open_source
from maskdistill.files import check_place, require_writable
from maskdistill.stages.feature_probe import ENOUGH_MASKS, MEASURES, SETTINGS, ProbeResult, probe_features


def probe_features_command(options: argparse.Namespace) -> str:
    """Two tables, best rows first, and what to set."""
    from maskdistill.features.backbone import load_backbone

    overrides = [] if options.backbone is None else [f"features.backbone={options.backbone}"]
    config = load_preset(options.preset or "quick").with_overrides([*overrides, *options.set])
    if options.out is not None:
        check_place(options.out, "folder")
        require_writable(options.out)
    source = open_source(options.data).limited(options.limit)
    backbone = load_backbone(config.features)
    with tempfile.TemporaryDirectory() as folder:
        found = probe_features(
            source,
            backbone,
            config,
            options.out or Path(folder),
            blocks=range(1, backbone.depth + 1) if options.blocks == [0] else options.blocks,
            kinds=options.kinds,
            quiet=options.quiet,
        )
    return describe_probe(found, backbone.spec.name, options.data)


def describe_probe(found: ProbeResult, name: str, data: str) -> str:
    """The report, for people."""
    count = f"{found.num_photos} photos of {data}"
    lines = [f"Masks by feature, {name}, {count}: means, the best score first", ""]
    lines += _table(
        ("feature", "block", *MEASURES, "found", "CorLoc*", "best IoU*"),
        [
            (
                row.kind,
                " ".join(map(str, row.blocks)),
                *(f"{getattr(row, measure):.3f}" for measure in MEASURES),
                f"{row.found:.0%}",
                _or_dash(row.corloc),
                _or_dash(row.best_iou),
            )
            for row in found.masks
        ],
    )
    if found.clusters:
        lines += ["", "Clusters by vector of the mask's crop: agreement of neighbours, the best first", ""]
        rows = [(row.name, f"{row.neighbours:.3f}", _or_dash(row.same_class)) for row in found.clusters]
        lines += _table(("vector", "neighbours", "same class*"), rows)
        if found.num_photos < ENOUGH_MASKS:
            lines.append(
                f"These are few masks for clusters: with --limit {ENOUGH_MASKS} and more there is advice on them."
            )
    lines.append("")
    if found.num_labelled:
        parts = ", ".join(f"{measure} {value:+.2f}" for measure, value in (found.correlation or {}).items())
        lines.append(
            f"* With the labels of {found.num_labelled} photos, for reporting only. Rank correlation with CorLoc over "
            f"the rows: {parts}."
        )
    else:
        lines.append("* These photos have no labels.")
    lines.append(f"'{SETTINGS}' is what the settings take now.")
    lines += [f"Left out: {photo}. {why}" for photo, why in found.left_out[:3]]
    if any(value.startswith("proposals.") for value in found.advice):
        lines.append("A higher score than the settings':")
    elif found.advice:
        lines.append("No feature scores higher than the settings'. For the clusters:")
    lines.append("  " + " ".join(f"--set '{value}'" for value in found.advice))
    return "\n".join(lines).rstrip()


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(str(cell)) for cell in column) for column in zip(header, *rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]
