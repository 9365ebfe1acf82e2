"""A photo with layers over it, of which a control shows one set at a time; printed, it shows the set that is chosen."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from maskdistill.datasets.transforms import PatchGeometry
from maskdistill.handouts import html
from maskdistill.pictures.derivation import DerivationStep


@dataclass(frozen=True)
class Frame:
    """One set of layers."""

    name: str  # on its button, or as the number of a slider
    layers: str  # HTML
    facts: str = ""  # a sentence below the picture


@dataclass(frozen=True)
class Scene:
    """The photo under layers."""

    alt: str
    size: tuple[int, int]  # width, height: their ratio counts
    frames: Sequence[Frame] = field(default_factory=lambda: (Frame("", ""),))
    chosen: int = 0
    gray: bool = False
    below: str = ""  # HTML between the photo and the frames, such as a mesh
    above: str = ""  # HTML above them
    kind: str = ""  # more CSS classes

    def html(self, facts: str = "") -> str:
        """The figure, with a sentence below it that changes with the frame."""
        frames = "".join(
            f'<div class="frame" data-facts="{html.text(frame.facts)}"{"" if place == self.chosen else " hidden"}>'
            f"{frame.layers}</div>"
            for place, frame in enumerate(self.frames)
        )
        ratio = f"--ratio:{self.size[0]}/{self.size[1]}"
        said = self.frames[self.chosen].facts
        kinds = " ".join(part for part in ("scene", "gray" if self.gray else "", self.kind) if part)
        return (
            f'<figure><div class="{kinds}" style="{ratio}"><div class="photo" role="img" aria-label="'
            f'{html.text(self.alt)}"></div>{self.below}{frames}{self.above}</div>'
            f'<figcaption><span class="said" aria-live="polite">{html.text(said)}</span> {html.text(facts)}'
            "</figcaption></figure>"
        )

    def pills(self, label: str, key: str) -> str:
        """A control with a button for each frame."""
        buttons = "".join(
            f'<label><input type="radio" name="{key}" value="{place}"{" checked" if place == self.chosen else ""}>'
            f"{html.text(frame.name)}</label>"
            for place, frame in enumerate(self.frames)
        )
        return f'<fieldset class="control" data-frames><legend>{html.text(label)}</legend>{buttons}</fieldset>'

    def slider(self, label: str) -> str:
        """A control with a slider over the frames."""
        names = html.text("|".join(frame.name for frame in self.frames))
        return (
            f'<div class="control" data-frames><label><b>{html.text(label)}</b> <input type="range" min="0" '
            f'max="{len(self.frames) - 1}" step="1" value="{self.chosen}" data-names="{names}"></label>'
            f"<output>{html.text(self.frames[self.chosen].name)}</output></div>"
        )


def cells(step: DerivationStep, geometry: PatchGeometry) -> str:
    """A step's picture, as a layer over the photo."""
    if not step.on_patches:
        return html.layer(step.image)
    width = geometry.padded_width / geometry.resized_width
    height = geometry.padded_height / geometry.resized_height
    return html.layer(step.image, kind="cells", width=width, height=height)


def ring(patch: tuple[int, int], geometry: PatchGeometry) -> str:
    """A ring around a patch."""
    row, col = patch
    left = 100 * col * geometry.patch_size / geometry.resized_width
    top = 100 * row * geometry.patch_size / geometry.resized_height
    return f'<i class="ring" style="{cell_size(geometry)};left:{left:.3f}%;top:{top:.3f}%"></i>'


def mesh(geometry: PatchGeometry) -> str:
    """The lines between patches."""
    return f'<i class="mesh" style="{cell_size(geometry)}"></i>'


def cell_size(geometry: PatchGeometry) -> str:
    """Size of a patch as fractions of the photo, as CSS variables."""
    width = 100 * geometry.patch_size / geometry.resized_width
    height = 100 * geometry.patch_size / geometry.resized_height
    return f"--cell-w:{width:.4f}%;--cell-h:{height:.4f}%"
