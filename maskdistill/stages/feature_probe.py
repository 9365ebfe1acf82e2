"""Which feature suits a transformer on somebody's photos: masks and clusters by block and by kind, without labels.

One forward pass for a photo and one for its mirror image serve every block and kind. Ground truth, where there is some,
is read for two columns of the report and decides nothing.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskdistill.clustering.mask_embeddings import embed_masks
from maskdistill.clustering.model_selection import choose_embedding, nearest_neighbours
from maskdistill.config import FeatureKind, ProposalConfig, RunConfig
from maskdistill.datasets import IGNORE_INDEX, Photo, PhotoSource, read_photo
from maskdistill.errors import ConfigError, DatasetError, MaskDistillError, OutOfMemoryError, printable
from maskdistill.evaluation.ground_truth import GroundTruth
from maskdistill.evaluation.region_metrics import best_iou, corloc, rank_correlation
from maskdistill.features.backbone import Backbone
from maskdistill.features.forward import PROJECTIONS, FeatureRequest
from maskdistill.features.patch_tokens import stack_tokens
from maskdistill.files import replace_atomically, write_json
from maskdistill.proposals.propose import Proposal, Recipe, propose_from_views
from maskdistill.proposals.views import ImageView, extract_views
from maskdistill.storage.progress import Reporter
from maskdistill.storage.read_files import read_json_if_there
from maskdistill.storage.run_folder import fingerprint

KINDS: tuple[FeatureKind, ...] = ("tokens", *PROJECTIONS)
SETTINGS = "settings"  # the row of what the settings take now
MEASURES = ("score", "agreement", "eigengap", "stability", "off_border")  # without labels, [0, 1], higher is better
_PARTS = {"agreement": "view_agreement", "eigengap": "eigengap", "stability": "stability", "off_border": "border"}
_TRUE_IOU = "iou"
_DIMENSIONS = 24  # of the embeddings that are compared, after PCA; fewer for few masks, which whitening would equalise
_NEIGHBOURS = 10  # at most, whose classes are looked at
_PER_DIMENSION = 5  # masks, at least
ENOUGH_MASKS = 60  # for advice on clusters
_MASKS_PER_CLUSTER, _MOST_CLUSTERS = 5, 20
_LEAST_PHOTOS = 4  # with a mask, for clusters to mean something
NO_GAIN = 0.01  # a mean score that is not higher than the settings' by this is no reason to change them


@dataclass(frozen=True)
class MaskRow:
    """How well masks cut from one feature do; means over the photos, a photo without mask counting 0."""

    kind: str  # of ``KINDS``, or ``SETTINGS``
    blocks: tuple[int, ...]
    score: float
    agreement: float  # IoU with the mask of the mirror image
    eigengap: float
    stability: float
    off_border: float  # 1 minus the share of the photo's border that the mask covers
    found: float  # share of the photos with a mask
    corloc: float | None  # with labels, for reporting only
    best_iou: float | None  # likewise


@dataclass(frozen=True)
class ClusterRow:
    """How well masks cluster by one vector of their crops."""

    name: str  # CLS 11; patches 9 of the crop, of the photo
    neighbours: float  # share of a mask's nearest neighbours in its cluster, mean over the spaces of all vectors
    same_class: float | None  # share of a mask's nearest neighbours that show its class: labels, for reporting only


@dataclass(frozen=True)
class ProbeResult:
    """All rows, the best first, and what to set."""

    masks: tuple[MaskRow, ...]
    clusters: tuple[ClusterRow, ...]
    num_photos: int
    num_labelled: int
    left_out: tuple[tuple[str, str], ...]  # photo, why
    advice: tuple[str, ...]  # values for --set; empty where the settings do as well
    correlation: dict[str, float] | None  # of each measure with CorLoc over the rows; None without labels

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def probe_features(
    source: PhotoSource,
    backbone: Backbone,
    config: RunConfig,
    folder: Path,
    *,
    blocks: Sequence[int] = (),
    kinds: Sequence[FeatureKind] = (),
    quiet: bool = False,
) -> ProbeResult:
    """Compare what masks can be cut from, and what they can be clustered by.

    Args:
        source: Photos; a few dozen tell.
        backbone: Of ``config.features``.
        config: Settings; all but ``proposals.feature`` and ``proposals.blocks`` hold for every row.
        folder: Takes a file for each photo, so that the work goes on where it was stopped, and probe.json.
        blocks: Numbers from 1; none: the later half.
        kinds: Of ``KINDS``; none: those that the transformer has.
        quiet: No progress on standard error.

    Raises:
        ConfigError: If the transformer has no such block or kind, or the engine is not ``ncut``.
        DatasetError: If no photo can be read.
    """
    if config.proposals.engine != "ncut":
        raise ConfigError("Features are compared by the engine 'ncut'. Set proposals.engine=ncut.")
    blocks = tuple(blocks) or tuple(range(backbone.depth // 2 + 1, backbone.depth + 1))
    backbone.check_blocks(blocks)
    kinds = tuple(kinds) or (KINDS if backbone.has_heads else ("tokens",))
    probe = _Probe(backbone, config, blocks, kinds)
    key = fingerprint([source.fingerprint, backbone.spec.name, config.to_dict(), list(blocks), list(kinds)])
    truth, failed = GroundTruth(source), []
    kept = _Kept(folder, key)
    with Reporter(folder / ".progress.json", "probe-features", len(source.photos), quiet=quiet) as reporter:
        for number, photo in enumerate(source.photos):
            try:
                kept.make(number, lambda photo=photo: probe.measure(photo, truth))
            except OutOfMemoryError:
                raise
            except (MaskDistillError, OSError, ValueError) as error:
                failed.append((printable(photo.id), printable(str(error))))
            reporter.advance()
    found = [arrays for number in range(len(source.photos)) if (arrays := kept.read(number)) is not None]
    if not found:
        reason = f" The first: {failed[0][0]}. {failed[0][1]}" if failed else ""
        raise DatasetError(f"No photo of {source.spec} could be read.{reason}")
    result = _describe(probe, found, failed, config.seed)
    write_json(folder / "probe.json", {"key": key, "backbone": backbone.spec.name, **result.to_dict()})
    return result


class _Probe:
    """What is measured on each photo."""

    def __init__(
        self, backbone: Backbone, config: RunConfig, blocks: tuple[int, ...], kinds: Sequence[FeatureKind]
    ) -> None:
        self._backbone, self._config, self.blocks = backbone, config, blocks
        plain = dataclasses.replace(config.proposals, num_objects=1, pool="off")
        crf = dataclasses.replace(config.crf, enabled=False)
        wanted = [(kind, (block,)) for kind in kinds for block in blocks]
        self.recipes = {(SETTINGS, ()): Recipe.resolve(plain, crf, backbone)} | {
            (kind, of): Recipe.resolve(_with_feature(plain, kind, of), crf, backbone) for kind, of in wanted
        }
        request = FeatureRequest(token_blocks=blocks)
        for recipe in self.recipes.values():
            request = request.joined(recipe.request)
        self._request = request

    def measure(self, photo: Photo, truth: GroundTruth) -> dict[str, np.ndarray]:
        """``masks``: (rows, measures) with the true IoU last, NaN where there is none; vectors by name; ``label``."""
        image = read_photo(photo)
        size, scale = (image.height, image.width), self._recipe.view_scale
        views = extract_views(self._backbone, image, size, self._config.features, self._request, view_scale=scale)
        labels = truth.read(photo)
        masks = [_first(*views, recipe) for recipe in self.recipes.values()]
        rows = [_numbers(mask, labels) for mask in masks]
        found = {"masks": np.array(rows)}
        return found if masks[0] is None else found | self._vectors(image, views[0], masks[0].mask, labels)

    @property
    def _recipe(self) -> Recipe:
        return self.recipes[SETTINGS, ()]

    def _vectors(
        self, image: Any, view: ImageView, mask: np.ndarray, labels: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """Vectors of the crop of the settings' mask, and the class that most of the mask shows; -1 for none."""
        tokens = stack_tokens(view.features, self.blocks)
        crop = dataclasses.replace(self._config.embeddings, blocks=self.blocks)
        vectors = embed_masks(self._backbone, image, [mask], tokens, view.geometry, crop, self.blocks)
        inside = labels[mask] if labels is not None else np.zeros(0, np.uint8)
        inside = inside[(inside > 0) & (inside < IGNORE_INDEX)]
        label = int(np.bincount(inside).argmax()) if inside.size else -1
        return {name: values[0] for name, values in vectors.items()} | {"label": np.array(label)}


def _with_feature(config: ProposalConfig, kind: FeatureKind, blocks: tuple[int, ...]) -> ProposalConfig:
    return dataclasses.replace(config, feature=kind, blocks=blocks)


def _first(view: ImageView, second: ImageView | None, recipe: Recipe) -> Proposal | None:
    found = propose_from_views(view, second, None, recipe, pool=()).proposals
    return found[0] if found else None


def _numbers(mask: Proposal | None, labels: np.ndarray | None) -> list[float]:
    """``MEASURES`` of a mask and its true IoU."""
    labelled = labels is not None and bool(((labels > 0) & (labels < IGNORE_INDEX)).any())
    if mask is None:
        return [0.0] * len(MEASURES) + [0.0 if labelled else np.nan]
    parts = [mask.parts.get(_PARTS[name], np.nan) for name in MEASURES[1:]]
    return [mask.score, *parts, best_iou(mask.mask, labels) if labels is not None and labelled else np.nan]


class _Kept:
    """A file for each photo; those of other settings are made anew."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder / "photos"
        self._folder.mkdir(parents=True, exist_ok=True)
        known = read_json_if_there(folder / "settings.json") or {}
        if known.get("key") != key:
            for path in self._folder.glob("*.npz"):
                path.unlink()
            write_json(folder / "settings.json", {"key": key})

    def make(self, number: int, measure: Any) -> None:
        """Measure a photo, unless its file is there."""
        path = self._path(number)
        if not path.is_file():
            arrays = measure()
            replace_atomically(path, lambda draft: _save(draft, arrays))

    def read(self, number: int) -> dict[str, np.ndarray] | None:
        """What was measured; None if nothing was."""
        path = self._path(number)
        if not path.is_file():
            return None
        with np.load(path) as arrays:
            return dict(arrays)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.npz"


def _save(path: Path, arrays: dict[str, Any]) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _describe(
    probe: _Probe, found: Sequence[dict[str, np.ndarray]], failed: list[tuple[str, str]], seed: int
) -> ProbeResult:
    masks = np.stack([arrays["masks"] for arrays in found])  # (photos, rows, measures)
    rows = [
        _mask_row(kind, recipe.blocks, masks[:, number])
        for number, ((kind, _), recipe) in enumerate(probe.recipes.items())
    ]
    labelled = int(np.isfinite(masks[:, 0, -1]).sum())
    clusters = tuple(_cluster_rows([arrays for arrays in found if "label" in arrays], seed))
    ordered = tuple(sorted(rows, key=lambda row: -row.score))
    correlation = None
    if labelled:
        plain = rows[1:]
        truths = [row.corloc for row in plain if row.corloc is not None]  # all: each has the labelled photos
        correlation = {name: rank_correlation([getattr(row, name) for row in plain], truths) for name in MEASURES}
    num_masks = sum("label" in arrays for arrays in found)
    advice = _advise(ordered, rows[0], clusters if num_masks >= ENOUGH_MASKS else ())
    return ProbeResult(ordered, clusters, len(found), labelled, tuple(failed), advice, correlation)


def _mask_row(kind: str, blocks: tuple[int, ...], numbers: np.ndarray) -> MaskRow:
    """``numbers``: (photos, measures). What the settings never measure, as without a second view, is 0."""
    means = {
        name: float(np.nanmean(values)) if np.isfinite(values).any() else 0.0
        for name, values in zip(MEASURES, numbers.T, strict=False)
    }
    ious = numbers[np.isfinite(numbers[:, -1]), -1]
    share = float((numbers[:, 0] > 0).mean())
    truth = (corloc(ious.tolist()), float(ious.mean())) if len(ious) else (None, None)
    return MaskRow(kind, blocks, **means, found=share, corloc=truth[0], best_iou=truth[1])


def _cluster_rows(found: Sequence[dict[str, np.ndarray]], seed: int) -> Iterator[ClusterRow]:
    if len(found) < _LEAST_PHOTOS:
        return
    names = [name for name in found[0] if name not in ("masks", "label")]
    candidates = {_read_name(name): np.stack([arrays[name] for arrays in found]) for name in names}
    number = min(_MOST_CLUSTERS, max(2, len(found) // _MASKS_PER_CLUSTER))
    dimensions = max(2, min(_DIMENSIONS, len(found) // _PER_DIMENSION))
    choice = choose_embedding(candidates, (dimensions,), num_classes=number, seed=seed)
    classes = np.array([int(arrays["label"]) for arrays in found])
    known = np.flatnonzero(classes >= 0)
    for score in sorted(choice.scores, key=lambda score: -score.neighbours):
        same = None
        if len(known) >= _LEAST_PHOTOS:
            near = nearest_neighbours(candidates[score.name][known], min(_NEIGHBOURS, max(1, len(known) // 10)))
            same = float((classes[known][near] == classes[known][:, None]).mean())
        yield ClusterRow(score.name, score.neighbours, same)


def _read_name(name: str) -> str:
    kind = name.rstrip("0123456789")
    block = name.removeprefix(kind)
    return {"cls": f"CLS {block}", "crop": f"patches {block} of the crop", "photo": f"patches {block} of the photo"}[
        kind
    ]


def _advise(ordered: Sequence[MaskRow], now: MaskRow, clusters: Sequence[ClusterRow]) -> tuple[str, ...]:
    """Values for ``--set``."""
    advice: list[str] = []
    best = ordered[0]
    if best.kind != SETTINGS and best.score > now.score + NO_GAIN:
        advice += [f"proposals.feature={best.kind}", f"proposals.blocks={list(best.blocks)}"]
    cls = [row for row in clusters if row.name.startswith("CLS ")]
    if cls:
        blocks = sorted(int(row.name.removeprefix("CLS ")) for row in cls[:3])
        advice.append(f"embeddings.blocks={blocks}")
    return tuple(advice)
