"""How a mask was made, step by step: pictures on the patch grid, each with a sentence for a student."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from maskdistill.pictures import colors, drawing
from maskdistill.proposals.affinity import key_affinity, stacked_features
from maskdistill.proposals.live import LiveProposals
from maskdistill.proposals.normalized_cut import Cut
from maskdistill.proposals.propose import Proposal, Proposals
from maskdistill.proposals.published_rule import Diffusion

Patch = tuple[int, int]  # row, col
FOREGROUND_RULES = {
    "attended": "touches the photo's border less, unless CLS attends to the other part at least twice as much",
    "border": "touches the photo's border less",
    "largest": "holds the largest value",
}


@dataclass(frozen=True)
class DerivationStep:
    """One picture. ``image`` is RGB, or has a palette with transparent ground if it is a mask over the photo."""

    title: str
    caption: str
    image: Image.Image
    on_patches: bool = True  # one pixel a patch; False: one pixel of the explored photo
    ends: tuple[str, str] | None = None  # what the two ends of the colour scale mean; None for masks
    scale: colors.Scale = "sequential"
    mark: Patch | None = None  # patch to be ringed


def affinity_map(live: LiveProposals, patch: Patch) -> np.ndarray:
    """(rows, cols) similarity of every patch to one: cosines, or the published products of keys."""
    rows, cols = live.view.features.grid
    index = patch[0] * cols + patch[1]
    if live.recipe.config.engine == "published":
        return key_affinity(live.view.features, np.array([index]))[0].reshape(rows, cols)
    vectors = stacked_features(live.view.features, live.recipe.feature, live.recipe.blocks)
    return (vectors @ vectors[index]).reshape(rows, cols)


def affinity_step(live: LiveProposals, patch: Patch, title: str) -> DerivationStep:
    """The affinity map of a patch, ready to draw."""
    if live.recipe.config.engine == "published":
        caption = "Product of this patch's key with every other's, summed over the heads. Only positive links count."
        return _signed(title, caption, affinity_map(live, patch), patch)
    caption = (
        f"Cosine between the {live.recipe.feature} of the ringed patch and of every other patch. "
        f"Above τ = {live.recipe.config.tau:g} two patches are linked."
    )
    values = affinity_map(live, patch)
    low = min(0.0, float(values.min()))
    return DerivationStep(
        title, caption, drawing.color_map(values, low, 1.0, "sequential"), ends=(_number(low), "1"), mark=patch
    )


def default_patch(live: LiveProposals, rank: int) -> Patch | None:
    """The seed of the mask of that rank, or where the engine started if it found none."""
    result = live.proposals
    if result.proposals:
        return result.proposals[min(rank, len(result.proposals) - 1)].candidate.seed
    if result.diffusion is not None:
        return result.diffusion.seed
    return result.cuts[0].seed if result.cuts else None


def attention_steps(live: LiveProposals) -> list[DerivationStep]:
    """CLS attention of each head of the last block, and their mean."""
    attention = live.view.features.cls_attention
    if attention is None:
        return []
    maps = attention.numpy().reshape(len(attention), *live.view.features.grid)
    caption = "Patches that this head attends to."
    steps = [_attention(f"Head {number}", caption, values) for number, values in enumerate(maps, start=1)]
    mean = "All heads together. It is no mask yet."
    return [*steps, _attention("Mean of the heads", mean, maps.mean(axis=0))]


def mask_steps(live: LiveProposals, rank: int) -> list[DerivationStep]:
    """From the seed to the mask of that rank."""
    result = live.proposals
    proposal = result.proposals[rank] if rank < len(result.proposals) else None
    if proposal is not None and proposal.number is not None:
        return _pool_steps(proposal, rank)
    if result.diffusion is not None:
        steps = _diffusion_steps(live, result.diffusion)
    else:
        cut = _cut_of(result, proposal)
        steps = _cut_steps(live, cut) if cut is not None else []
    if proposal is None:
        return steps
    return [*steps, *_refined_steps(live, proposal, rank)]


def _cut_of(result: Proposals, proposal: Proposal | None) -> Cut | None:
    if proposal is not None:
        for cut in result.cuts:
            if np.array_equal(cut.component, proposal.candidate.component):
                return cut
    return result.cuts[0] if result.cuts else None


def _cut_steps(live: LiveProposals, cut: Cut) -> list[DerivationStep]:
    rule = FOREGROUND_RULES[live.recipe.config.foreground]
    return [
        _seed("The patch of the foreground with the largest value.", live, cut.seed),
        affinity_step(live, cut.seed, "Affinity of the seed"),
        _signed(
            "Eigenvector of the cut",
            "Linked patches get similar values. The patches fall into two groups: above and below zero.",
            cut.eigenvector,
            cut.seed,
        ),
        _mask("Foreground", f"The part of the cut that {rule}.", cut.foreground),
        _mask("Component", _component_caption(live), cut.component),
    ]


def _component_caption(live: LiveProposals) -> str:
    if live.recipe.config.seed_component_only:
        return "Only the connected component that holds the seed is kept."
    return f"Connected components smaller than {live.recipe.config.min_piece:.0%} of the largest are dropped."


def _diffusion_steps(live: LiveProposals, diffusion: Diffusion) -> list[DerivationStep]:
    config = live.recipe.config
    kept = f"Mean of the first {config.num_heads} heads, cut to {config.mass:.0%} of its mass. Its maximum is the seed."
    return [
        _plain("Attention kept", kept, diffusion.attention, diffusion.seed),
        _seed("The patch with the most attention.", live, diffusion.seed),
        _mask("Candidates", f"The {config.topk:.0%} of patches with the most attention.", diffusion.candidates),
        affinity_step(live, diffusion.seed, "Affinity of the seed"),
        _mask("Similar candidates", "Candidates whose key is similar to the seed's.", diffusion.kept),
        _signed(
            "Diffused graph",
            "The similarities of these candidates to every patch, added up. Above zero: the object.",
            diffusion.diffused,
            diffusion.seed,
        ),
        _mask("Component", "The connected component above zero that holds the seed.", diffusion.component),
    ]


def _pool_steps(proposal: Proposal, rank: int) -> list[DerivationStep]:
    """From the signed map of a candidate of the pool to its mask."""
    values = proposal.candidate.values
    compared = "Each patch compared with the mean of the candidate and of a ring around. Orange: nearer to the object."
    sharp = f"The map at the photo's size; a guided filter moves it to edges in the photo. Score {proposal.score:.2f}."
    return [
        _mask(
            "Candidate", "A part of the photo that cuts of the sides of a cut left, in one of the views.", values > 0
        ),
        _signed("Refined on patches", compared, values, None),
        _pixel_mask("Mask", sharp, proposal.mask, colors.mask_color(rank)),
    ]


def _refined_steps(live: LiveProposals, proposal: Proposal, rank: int) -> list[DerivationStep]:
    colour = colors.mask_color(rank)
    config = live.recipe.config
    steps = []
    if config.engine == "ncut" and config.refine_steps:
        caption = "Each patch compared with the mean of the object and of the rest. Orange: nearer to the object."
        steps.append(_signed("Refined on patches", caption, proposal.candidate.values, None))
    if proposal.before_crf is not None:
        steps.append(_pixel_mask("Before the CRF", "The mask interpolated to pixels.", proposal.before_crf, colour))
        agreement = proposal.parts["crf_agreement"]
        caption = f"The CRF moves the outline to edges in the photo. IoU with the mask before: {agreement:.2f}."
        if proposal.crf_rejected:
            caption = f"The CRF changed too much (IoU {agreement:.2f}), so the mask before it is kept."
        return [*steps, _pixel_mask("After the CRF", caption, proposal.mask, colour)]
    smooth = config.smooth and config.engine == "ncut"
    how = "interpolated between patches" if smooth else "each pixel takes its patch"
    second = ", averaged with the mirrored view" if config.views == "merge" and config.engine == "ncut" else ""
    caption = f"The mask at the photo's size: {how}{second}. Score {proposal.score:.2f}."
    return [*steps, _pixel_mask("Mask", caption, proposal.mask, colour)]


def _plain(title: str, caption: str, values: np.ndarray, mark: Patch | None = None) -> DerivationStep:
    low, high = float(values.min()), float(values.max())
    image = drawing.color_map(values, low, high, "sequential")
    return DerivationStep(title, caption, image, ends=(_number(low), _number(high)), mark=mark)


def _attention(title: str, caption: str, values: np.ndarray) -> DerivationStep:
    high = float(values.max())
    return DerivationStep(title, caption, drawing.color_map(values, 0, high, "sequential"), ends=("0", f"{high:.1%}"))


def _signed(title: str, caption: str, values: np.ndarray, mark: Patch | None) -> DerivationStep:
    top = max(float(np.abs(values).max()), 1e-9)
    image = drawing.color_map(values, -top, top, "diverging")
    return DerivationStep(title, caption, image, ends=(_number(-top), _number(top)), scale="diverging", mark=mark)


def _number(value: float) -> str:
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2g}"
    return text.replace("-", "−")


def _seed(caption: str, live: LiveProposals, seed: Patch) -> DerivationStep:
    nothing = np.zeros(live.view.features.grid, dtype=bool)
    return DerivationStep("Seed", caption, drawing.mask_layer(nothing, colors.mask_color(0)), mark=seed)


def _mask(title: str, caption: str, mask: np.ndarray) -> DerivationStep:
    return DerivationStep(title, caption, drawing.mask_layer(mask, colors.mask_color(0)))


def _pixel_mask(title: str, caption: str, mask: np.ndarray, colour: str) -> DerivationStep:
    return DerivationStep(title, caption, drawing.mask_layer(mask, colour), on_patches=False)
