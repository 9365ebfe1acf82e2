"""Object masks of one photo from its frozen features: engine, refinement, score, and a hint where the result is bad."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from maskdistill.config import CrfConfig, ProposalConfig, RunConfig
from maskdistill.datasets import Photo, read_photo
from maskdistill.datasets.transforms import PatchGeometry
from maskdistill.errors import ConfigError
from maskdistill.features.backbone import Backbone
from maskdistill.features.forward import FeatureRequest, Features, Projection
from maskdistill.masks import mask_iou
from maskdistill.proposals import scoring
from maskdistill.proposals.affinity import cosine_affinity, stacked_features
from maskdistill.proposals.normalized_cut import Cut, cut_objects
from maskdistill.proposals.pixel_masks import map_to_pixels, refine_by_crf, shape_parts
from maskdistill.proposals.pool import Pool, join_views, make_pool
from maskdistill.proposals.pool_masks import PoolMask, choose_masks, content_of
from maskdistill.proposals.published_rule import Diffusion, diffuse
from maskdistill.proposals.refinement import (
    finer_map,
    keep_components,
    normalise_map,
    refine_patches,
    resize_map,
)
from maskdistill.proposals.views import ImageView, extract_views

SWAPPED_FOREGROUND = 0.5  # weight of an agreement in which the second view takes the other part for foreground
WHOLE, SPECK = 0.9, 1.5  # fraction of the photo; patches


@dataclass(frozen=True)
class PatchMask:
    """A mask on the patches, before it is brought to pixels; arrays are (rows, cols)."""

    component: np.ndarray  # bool, what the engine found
    values: np.ndarray  # float32, signed map after refinement; positive is the object
    seed: tuple[int, int]  # patch row, col
    eigengap: float | None = None  # None where the engine has no eigenvalues
    stability: float | None = None  # IoU of component and refined mask on the patches; None without refinement


@dataclass(frozen=True)
class Proposal:
    """One object mask of a photo."""

    mask: np.ndarray  # (H, W) bool
    score: float  # [0, 1]
    parts: Mapping[str, float]  # what the score is made of
    candidate: PatchMask = field(repr=False)
    before_crf: np.ndarray | None = field(default=None, repr=False)  # (H, W) bool, if the CRF ran
    crf_rejected: bool = False  # True if the CRF changed the mask too much and was not taken
    number: int | None = None  # in the pool; None for the mask of the cut


@dataclass(frozen=True)
class Proposals:
    """All masks of a photo, best score first, and how they came about."""

    proposals: tuple[Proposal, ...]
    problem: str | None  # why the result is of no use and what to try, or None
    cuts: tuple[Cut, ...] = ()  # engine ncut
    diffusion: Diffusion | None = None  # engine published
    pool: tuple[Pool, ...] = ()  # candidates of each view, where they are wanted


@dataclass(frozen=True)
class Recipe:
    """Settings with every "auto" resolved for one backbone."""

    feature: Literal["tokens"] | Projection
    blocks: tuple[int, ...]
    refine_blocks: tuple[int, ...]
    config: ProposalConfig
    crf: CrfConfig

    @classmethod
    def resolve(cls, config: ProposalConfig, crf: CrfConfig, backbone: Backbone) -> "Recipe":
        """Fill in the backbone's defaults; without a CLS token, or with heads that cannot be told apart, a foreground
        that is attended to is the one off the border.

        Raises:
            ConfigError: If a block number is not one of the backbone's, or it lacks what is wanted.
        """
        feature = backbone.spec.mask_feature if config.feature == "auto" else config.feature
        own = feature == backbone.spec.mask_feature
        blocks = config.blocks or backbone.blocks(backbone.spec.mask_blocks if own else (0,))
        refine_blocks = config.refine_blocks or backbone.blocks(backbone.spec.refine_blocks)
        backbone.check_blocks((*blocks, *refine_blocks))
        if feature != "tokens" and not backbone.has_heads:
            raise ConfigError(f"{backbone.spec.name} has no {feature} of its own. Set proposals.feature=tokens.")
        if config.engine == "published" and not backbone.has_attention:
            raise ConfigError(
                f"The engine 'published' reads the attention of CLS, which {backbone.spec.name} does not have. Set "
                "proposals.engine=ncut."
            )
        if config.foreground == "attended" and not backbone.has_attention:
            config = replace(config, foreground="border")
        return cls(feature, blocks, refine_blocks, config, crf)

    @property
    def smooth(self) -> bool:
        """Whether maps are interpolated."""
        return self.config.interpolates

    @property
    def view_scale(self) -> float | None:
        """Size of the second view, or None for none."""
        return None if self.config.views == "none" else self.config.view_scale

    @property
    def request(self) -> FeatureRequest:
        """What the forward pass must return for this recipe, and nothing more."""
        published = self.config.engine == "published"
        cut_blocks = () if published else self.blocks
        kind = self.feature
        of_tokens = cut_blocks if kind == "tokens" else ()
        return FeatureRequest(
            token_blocks=tuple(sorted({*of_tokens, *self.refine_blocks})),  # the score reads them
            last_qk=published or self.config.foreground == "attended",
            projections=() if kind == "tokens" else tuple((kind, block) for block in cut_blocks),
        )


def propose(photo: Photo | Path, backbone: Backbone, config: RunConfig) -> Proposals:
    """Masks of one photo, from its file.

    Args:
        photo: The photo, or the path of its file.
        backbone: What ``load_backbone(config.features)`` gives.
        config: Settings; its sections ``features``, ``proposals`` and ``crf`` are read.

    Raises:
        DatasetError: If the photo cannot be read.
        ConfigError: If a setting cannot work with this backbone.

    Example:
        ```python
        import maskdistill as md

        config = md.load_preset("quick").with_overrides(["features.backbone=focus_vits14"])
        photo = md.open_source("sample").photos[0]
        found = md.propose(photo, md.load_backbone(config.features), config)
        assert found.proposals[0].mask.shape == (photo.height, photo.width)
        ```
    """
    image = read_photo(photo)
    recipe = Recipe.resolve(config.proposals, config.crf, backbone)
    size = (image.height, image.width)
    views = extract_views(backbone, image, size, config.features, recipe.request, view_scale=recipe.view_scale)
    return propose_from_views(*views, image, recipe)


def propose_from_views(
    view: ImageView,
    second: ImageView | None,
    image: Image.Image | None,
    recipe: Recipe,
    pool: tuple[Pool, ...] | None = None,
) -> Proposals:
    """Masks of one photo, from its features.

    Args:
        view: Features of the photo.
        second: Features of its mirror image, or None; not used if ``views`` is "none".
        image: The photo, upright RGB; at full size for the CRF, at any for the masks of the pool.
        recipe: Resolved settings.
        pool: What ``find_pool`` gives, where that is known already.

    Returns:
        At most ``num_objects`` proposals, or as many as the pool carries, best score first. ``problem`` names a result
        of no use: nothing, a speck, or nearly the whole photo.
    """
    found = find_candidates(view, recipe)
    if recipe.config.views == "none":
        second = None
    others = find_candidates(second, recipe).candidates if second is not None else ()
    merged = [_merge(candidate, others, view.geometry, second is not None, recipe) for candidate in found.candidates]
    proposals = [
        _finish(candidate, values, agreement, view, image, recipe)
        for candidate, (values, agreement) in zip(found.candidates, merged, strict=True)
    ]
    kept = _drop_doubles([item for item in proposals if item.mask.any()], recipe.config)
    pool = find_pool(view, second, recipe) if pool is None else pool
    if recipe.config.chooses_from_pool:
        kept += _choose(kept[0] if kept else None, pool, view.geometry, image, recipe)
    problem = describe_problem(kept, view.geometry, recipe)
    return Proposals(tuple(kept), problem, found.cuts, found.diffusion, pool)


def find_pool(view: ImageView, second: ImageView | None, recipe: Recipe) -> tuple[Pool, ...]:
    """The candidates of every size of each view; empty where none are wanted."""
    if not recipe.config.makes_pool:
        return ()
    second = None if recipe.config.views == "none" else second
    pools = [_make_pool(item, recipe) for item in (view, second) if item is not None]
    return join_views(pools[0], pools[1] if len(pools) > 1 else None)


def _make_pool(view: ImageView, recipe: Recipe) -> Pool:
    config, geometry = recipe.config, view.geometry
    vectors, last = (
        stacked_features(view.features, recipe.feature, blocks) for blocks in (recipe.blocks, (max(recipe.blocks),))
    )
    grid = (geometry.rows, geometry.cols)
    sizes = config.pool_depth, config.pool_size
    pool = make_pool(vectors, last, grid, *sizes, content_of(geometry), joins=config.pool_joins)
    return pool.mirrored() if view.mirrored else pool


def _choose(
    first: Proposal | None,
    pool: tuple[Pool, ...],
    geometry: PatchGeometry,
    image: Image.Image | None,
    recipe: Recipe,
) -> list[Proposal]:
    """The masks that the pool adds to the cut's."""
    mask, most = (None, 1.0) if first is None else (first.mask, first.score)
    found = choose_masks(mask, pool, None, image, (geometry.height, geometry.width), recipe.config)
    return [_from_pool(item, most, (geometry.rows, geometry.cols)) for item in found.masks]


def _from_pool(item: PoolMask, most: float, grid: tuple[int, int]) -> Proposal:
    """``most``: the score of the cut's mask, which comes first."""
    values = item.values if item.values.shape == grid else resize_map(item.values, *grid)
    row, col = np.unravel_index(int(values.argmax()), grid)
    candidate = PatchMask(values > 0, values, (int(row), int(col)))
    return Proposal(item.mask, min(item.score, most), item.parts, candidate, number=item.number)


@dataclass(frozen=True)
class EngineOutput:
    """What an engine returned, before scoring."""

    candidates: tuple[PatchMask, ...]
    cuts: tuple[Cut, ...] = ()
    diffusion: Diffusion | None = None


def find_candidates(view: ImageView, recipe: Recipe) -> EngineOutput:
    """Run the engine on one view. Maps of a mirrored view are turned back."""
    grid = (view.geometry.rows, view.geometry.cols)
    if recipe.config.engine == "published":
        diffusion = diffuse(view.features, recipe.config)
        values = np.where(diffusion.component, np.float32(1), np.float32(-1))
        candidate = PatchMask(diffusion.component, values, diffusion.seed)
        return EngineOutput((_turn_back(candidate, view),) if diffusion.component.any() else (), (), diffusion)
    affinity = cosine_affinity(stacked_features(view.features, recipe.feature, recipe.blocks))
    cuts = cut_objects(affinity, grid, recipe.config, _mean_attention(view.features))
    candidates = tuple(_turn_back(_refine(number, cuts, view, recipe), view) for number in range(len(cuts)))
    return EngineOutput(candidates, tuple(cuts), None)


def _mean_attention(features: Features) -> np.ndarray | None:
    """(N,) CLS attention of the last block, mean over heads; None if it was not extracted."""
    return None if features.cls_attention is None else features.cls_attention.mean(dim=0).numpy()


def _refine(number: int, cuts: list[Cut], view: ImageView, recipe: Recipe) -> PatchMask:
    cut = cuts[number]
    values = np.where(cut.foreground & ~cut.component, -np.abs(cut.eigenvector), cut.eigenvector)
    stability = None
    if recipe.config.refine_steps and not cut.component.all():
        vectors = stacked_features(view.features, "tokens", recipe.refine_blocks)
        background = ~np.any([other.foreground for other in cuts[: number + 1]], axis=0)
        margin = refine_patches(vectors, cut.component.ravel(), background.ravel(), recipe.config.refine_steps)
        values = margin.reshape(values.shape)
        for other in cuts[:number]:  # an earlier object keeps its patches
            values = np.where(other.component, -np.abs(values), values)
        stability = mask_iou(cut.component, values > 0)
    return PatchMask(cut.component, values, cut.seed, cut.eigengap, stability)


def _turn_back(candidate: PatchMask, view: ImageView) -> PatchMask:
    if not view.mirrored:
        return candidate
    row, col = candidate.seed
    return replace(
        candidate,
        component=candidate.component[:, ::-1],
        values=candidate.values[:, ::-1],
        seed=(row, candidate.component.shape[1] - 1 - col),
    )


def _merge(
    candidate: PatchMask,
    others: tuple[PatchMask, ...],
    geometry: PatchGeometry,
    looked_twice: bool,
    recipe: Recipe,
) -> tuple[np.ndarray, float | None]:
    """The candidate's signed map on the working grid, averaged with the second view's, and how far the two agree."""
    seed = candidate.seed if recipe.config.seed_component_only else None
    min_piece = recipe.config.min_piece
    own = keep_components(finer_map(candidate.values, smooth=recipe.smooth), seed, min_piece)
    if not others:
        return own, 0.0 if looked_twice else None
    maps = [keep_components(_onto(finer_map(other.values), own.shape, geometry), None, min_piece) for other in others]
    overlaps = [mask_iou(own > 0, other > 0) for other in maps]
    best = int(np.argmax(overlaps))
    if not recipe.config.seed_component_only:  # the same cut with the foreground swapped: only the edge agrees
        swapped = SWAPPED_FOREGROUND * max(mask_iou(own > 0, other <= 0) for other in maps)
        if swapped > overlaps[best]:
            return own, swapped
    if recipe.config.views == "merge" and overlaps[best] > 0.5:
        return keep_components((own + normalise_map(maps[best])) / 2, seed, min_piece), overlaps[best]
    return own, overlaps[best]


def _onto(values: np.ndarray, shape: tuple[int, int], geometry: PatchGeometry) -> np.ndarray:
    """A map of the whole photo on the working grid of a geometry, background where that is padding."""
    height = round(shape[0] * geometry.resized_height / geometry.padded_height)
    width = round(shape[1] * geometry.resized_width / geometry.padded_width)
    placed = np.full(shape, -1, dtype=np.float32)
    placed[:height, :width] = resize_map(values, height, width)
    return placed


def _finish(
    candidate: PatchMask,
    values: np.ndarray,
    agreement: float | None,
    view: ImageView,
    image: Image.Image | None,
    recipe: Recipe,
) -> Proposal:
    fine = map_to_pixels(values, view.geometry, smooth=recipe.smooth)
    mask = fine > 0
    parts: dict[str, float] = {}
    if agreement is not None:
        parts["view_agreement"] = agreement
    if candidate.eigengap is not None:
        parts["eigengap"] = scoring.eigengap_part(candidate.eigengap)
    if candidate.stability is not None:
        parts["stability"] = candidate.stability
    before, rejected = None, False
    if recipe.crf.enabled and image is not None and mask.any():
        before = mask
        refined, parts["crf_agreement"] = refine_by_crf(fine, image, recipe.crf)
        rejected = parts["crf_agreement"] < recipe.crf.min_agreement
        mask = before if rejected else refined
    parts |= shape_parts(values, stacked_features(view.features, "tokens", recipe.refine_blocks))
    return Proposal(mask, scoring.combine(parts), parts, candidate, before, rejected)


def _drop_doubles(proposals: list[Proposal], config: ProposalConfig) -> list[Proposal]:
    kept: list[Proposal] = []
    for item in sorted(proposals, key=lambda item: -item.score):
        if all(mask_iou(item.mask, other.mask) <= config.max_overlap for other in kept):
            kept.append(item)
    return kept


def describe_problem(proposals: list[Proposal], geometry: PatchGeometry, recipe: Recipe) -> str | None:
    """Name a result of no use and what to try, or None if the best mask looks like an object."""
    if not proposals:
        return f"No object was found. {_hint(recipe)}"
    area = float(proposals[0].mask.mean())
    if area > WHOLE:
        return f"The mask covers {area:.0%} of the photo, nearly all of it. {_hint(recipe)}"
    if area * geometry.rows * geometry.cols < SPECK:
        return f"The mask is a single patch. {_hint(recipe)}"
    return None


def _hint(recipe: Recipe) -> str:
    if recipe.config.engine == "published":
        return "With these weights the keys may all point one way: try the engine 'ncut'."
    other = "tokens" if recipe.feature != "tokens" else "keys"
    return f"Try the feature '{other}', a tau above {recipe.config.tau:g}, or foreground 'largest'."
