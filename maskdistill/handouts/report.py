"""A run as one page: what each stage brought, in figures and in pictures, of which there are never too many."""

from datetime import date

from maskdistill import __version__
from maskdistill.errors import RunError
from maskdistill.handouts import html, report_figures, report_pictures
from maskdistill.handouts.guide import PRESET
from maskdistill.handouts.report_subject import ReportSubject, read_subject
from maskdistill.storage.run_folder import Run

PHOTO_SIDES = (320, 240, 160)  # pixels of a photo; the first at which the page is small enough


def report_page(run: Run) -> str:
    """HTML of the page, of less than ``html.MAX_BYTES``. Stages that the run does not have are left out.

    Ground truth, where there is some, is reported as metrics.json has it; nothing is computed anew.

    Raises:
        RunError: If there is no run, it has no masks yet, or a file is damaged.
    """
    found = read_subject(run)
    for side in PHOTO_SIDES:
        content = html.page(f"MaskDistill: the run {run.name}", _body(found, side))
        if len(content.encode()) < html.MAX_BYTES:
            return content
    raise RunError(f"The report of {run.path} would have more than {html.MAX_BYTES // 2**20} MB.")


def _body(found: ReportSubject, side: int) -> str:
    parts = [_head(found)]
    sections = (
        ("What it came to", report_figures.outcome(found)),
        ("Photos, stage by stage", report_pictures.examples(found, side)),
        ("Clusters", report_pictures.clusters(found)),
        ("Filter", report_pictures.filter_rules(found)),
        ("Classes", report_figures.class_tables(found)),
        ("What people decided", report_figures.decisions(found)),
        ("Stages", report_figures.stages(found)),
        ("Settings and versions", report_figures.settings(found)),
    )
    kept = [(title, content) for title, content in sections if content]
    for number, (title, content) in enumerate(kept, start=1):
        parts.append(
            f'<section aria-labelledby="part-{number}"><h2 id="part-{number}">{html.text(title)}</h2>'
            f"{content}</section>"
        )
    made = f"Made with maskdistill {__version__} on {date.today():%d %B %Y}"
    return f"{parts[0]}<main>{''.join(parts[1:])}</main>{html.footer(made)}"


def _head(found: ReportSubject) -> str:
    backbone = found.info.get("backbone") or {}
    preset = found.info.get("preset") or PRESET
    weights = f"{backbone.get('name', '')}: {backbone.get('weights', '')}"
    return (
        f"<header><h1>MaskDistill: the run {html.text(found.run.name)}</h1>"
        f'<p class="soft">Unsupervised semantic segmentation (arXiv 2206.06363). Preset {html.text(preset)}. '
        f"Features of {html.text(weights)}</p></header>"
    )
