"""The Guide on one photo as one page: the eight steps with their pictures, texts and controls, for a class."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

from maskdistill import __version__
from maskdistill.config import RunConfig, flatten, load_preset
from maskdistill.errors import ConfigError
from maskdistill.handouts import html
from maskdistill.handouts.guide_run_steps import clusters_step, filter_step, final_model_step, first_model_step
from maskdistill.handouts.guide_steps import Shown, affinity_step, cut_step, patches_step, photo_step
from maskdistill.handouts.guide_subject import GuideSubject
from maskdistill.handouts.guide_texts import NO_MASK, PUBLISHED_CUT, STEPS, WITHOUT_RUN_ON_PAGE, StepText
from maskdistill.handouts.scene import Frame, Scene
from maskdistill.pictures import colors, overlays

PRESET = "quick"  # of a run that names none
FIRST_TRAINED = 5  # step from which a trained run is needed
PHOTO_SIDES = (1024, 768, 512)  # pixels of the photo; the first at which the page is small enough
_SECTIONS = ("features", "proposals", "crf")  # of the settings, that steps 1 to 4 depend on
_STEPS: tuple[Callable[[GuideSubject], Shown], ...] = (
    *(photo_step, patches_step, affinity_step, cut_step),
    *(clusters_step, first_model_step, filter_step, final_model_step),
)


def guide_page(subject: GuideSubject) -> str:
    """HTML of the page, of less than ``html.MAX_BYTES``.

    Raises:
        ConfigError: If the page cannot be made so small.
    """
    name = subject.photo.id
    sections, links = [], []
    for number, words in enumerate(STEPS, start=1):
        links.append(f'<li><a href="#step-{number}"><b>{number}</b> {html.text(words.name)}</a></li>')
        sections.append(_section(number, words, subject))
    header = (
        f"<header><h1>From one photo to a segmentation model: {html.text(name)}</h1>"
        '<p class="soft">MaskDistill in eight steps (arXiv 2206.06363). Arrow keys go from step to step; H hides what '
        "lies over the photo.</p></header>"
    )
    walk = (
        '<div class="walk"><button type="button" class="back">← Back</button>'
        '<button type="button" class="next">Next →</button>'
        '<button type="button" class="bare" aria-pressed="false">Photo only (H)</button></div>'
    )
    nav = f'<nav class="steps" aria-label="Steps"><ol>{"".join(links)}</ol>{walk}</nav>'
    main = f'<main class="guide">{"".join(sections)}</main>'
    more = html.details("Settings and scores", _settings(subject))
    body = header + nav + main + html.footer(_made(subject), more)
    for side in PHOTO_SIDES:
        photo = html.photo_url(subject.image, side)
        variables = {"photo": f"url({photo})"}
        content = html.page(f"MaskDistill: {name}", body, scripts=["guide.js"], variables=variables)
        if len(content.encode()) < html.MAX_BYTES:
            return content
    raise ConfigError(f"The page of {name} would have more than {html.MAX_BYTES // 2**20} MB. Take a smaller photo.")


def _section(number: int, words: StepText, subject: GuideSubject) -> str:
    note = ""
    if number >= FIRST_TRAINED and subject.predicted is None:
        shown = Shown(_mask_only(subject))
        note = NO_MASK if subject.on_show is not None else WITHOUT_RUN_ON_PAGE
    else:
        shown = _STEPS[number - 1](subject)
    what = PUBLISHED_CUT if number == 4 and subject.config.proposals.engine == "published" else words.what
    told = f"<p>{html.marked(what)}</p>"
    for sign, sentence in (("What to look at", words.observe), ("What can go wrong", words.caution)):
        told += f'<p><span class="sign">{sign}</span>{html.marked(sentence)}</p>'
    if note:
        told += f'<p class="note">{html.marked(note)}</p>'
    return (
        f'<section id="step-{number}" aria-labelledby="title-{number}"><div class="two"><div>{shown.picture}</div>'
        f'<div class="words"><h2 id="title-{number}">{number}. {html.text(words.title)}</h2>{told}{shown.control}</div>'
        f"</div>{shown.below}</section>"
    )


def _mask_only(subject: GuideSubject) -> str:
    masks = subject.live.proposals.proposals[:1]
    layers = "".join(html.layer(overlays.mask_layer(item.mask, colors.mask_color(0))) for item in masks)
    alt = f"The mask of {subject.photo.id}" if masks else subject.photo.id
    return Scene(alt, subject.image.size, [Frame("", layers, "The mask of step 4" if masks else "")]).html()


def _settings(subject: GuideSubject) -> str:
    """Scores of the masks, and the settings."""
    parts, own = [], subject.on_show
    if found := subject.live.proposals.proposals:
        names = list(found[0].parts)
        head = ["Mask", "Score", "Area", *(name.replace("_", " ") for name in names)]
        rows = [
            [
                f"Mask {rank}",
                f"{item.score:.3f}",
                f"{item.mask.mean():.1%}",
                *(_number(item.parts.get(n)) for n in names),
            ]
            for rank, item in enumerate(found, start=1)
        ]
        parts.append(html.table(head, rows, caption="Scores"))
    flat = flatten(subject.config.to_dict())
    settings = [(name, shown(value)) for name, value in flat.items() if name.partition(".")[0] in _SECTIONS]
    parts.append(html.table(["Setting", "Value"], settings, caption="Settings of steps 1 to 4"))
    if own is not None:
        changed = changed_settings(own.config, own.run.info().get("preset") or PRESET)
        title = f"Settings of the run {own.run.name} that are not its preset's"
        parts.append(html.table(["Setting", "Value"], changed, caption=title))
    return "".join(parts)


def _number(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.3f}"


def changed_settings(config: RunConfig, preset: str) -> list[tuple[str, str]]:
    """Name and value of each setting that is not the preset's."""
    base = flatten(load_preset(preset).to_dict())
    return [(name, shown(value)) for name, value in flatten(config.to_dict()).items() if base.get(name) != value]


def shown(value: object) -> str:
    """A setting's value for people; of a path its last part, for folders are nobody's business."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "–"
    text = Path(value).name if isinstance(value, str) and "/" in value else str(value)
    return text or "–"


def _made(subject: GuideSubject) -> str:
    run = subject.on_show
    parts = [f"Made with maskdistill {__version__} on {date.today():%d %B %Y}"]
    if run is not None:
        own = "" if subject.number is not None else "; this photo is not one of its own"
        parts.append(f"Steps 5 to 8 by the run {run.run.name}{own}")
    parts.append(f"Features: {subject.backbone.spec.name}, {subject.backbone.spec.weights}")
    return ". ".join(parts)
