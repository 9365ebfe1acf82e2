"""What differs between timm's families of vision transformers: positions, what a block is given, queries and keys.

``VisionTransformer`` (ViT, DINO, DINOv2, MAE, iBOT, CLIP, SigLIP, DeiT and many more) adds learned positions to the
tokens. ``Eva`` (EVA-02, DINOv3, Perception Encoder and other rotary ones) turns queries and keys by them. ``Beit`` adds
a bias to each attention. The rest of the package asks here and nowhere else.
"""

from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import torch
import torch.nn.functional as F
from timm.layers.attention import Attention, AttentionRope
from timm.layers.patch_embed import PatchEmbed
from timm.layers.pos_embed_rel import resize_rel_pos_bias_table
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models.beit import Attention as BeitAttention
from timm.models.beit import Beit, gen_relative_position_index
from timm.models.eva import Eva, EvaAttention
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from maskdistill.errors import ConfigError
from maskdistill.features.attention import BlockedAttention

Vit = VisionTransformer | Eva | Beit
_ATTENTIONS = (Attention, BlockedAttention, EvaAttention, AttentionRope, BeitAttention)
AnyAttention: TypeAlias = Any  # one of these; torch takes whatever a module holds for "Tensor | Module"
_CLS_AND_PATCHES = 3  # rows of a BEiT table for pairs that CLS is of


@dataclass(frozen=True)
class Embedded:
    """Tokens before the first block, and what each block is given beside them."""

    tokens: Tensor  # (B, prefix + N, D)
    positions: list[Tensor] = field(default_factory=list)  # of each block: rotary embedding, or bias; empty for none
    name: str = ""  # the argument of a block that takes them

    def options(self, block: int) -> dict[str, Any]:
        """Keyword arguments of a block, its number from 0."""
        return {self.name: self.positions[block]} if self.positions else {}


@dataclass(frozen=True)
class Heads:
    """Queries, keys and values of one block, (B, heads, prefix + N, d), and the keys as the attention uses them."""

    queries: Tensor
    keys: Tensor  # before rotary positions: what a patch is, not where
    values: Tensor
    turned_queries: Tensor
    turned_keys: Tensor


def check_family(model: nn.Module, name: str) -> None:
    """Refuse what is no plain vision transformer.

    Raises:
        ConfigError: Naming the model, what it is, and what can be used.
    """
    if not isinstance(model, Vit):
        raise ConfigError(f"'{name}' is a {type(model).__name__}. {SUPPORTED}")
    if type(model.patch_embed) is not PatchEmbed:
        kind = type(model.patch_embed).__name__
        raise ConfigError(f"The patches of '{name}' come from another network before it ({kind}). {SUPPORTED}")


SUPPORTED = (
    "Plain vision transformers of timm can be used: names that begin with vit_, deit, beit, eva, flexivit or aimv2, "
    "without hybrids (_r50_, _resnet50d_), relative positions (vit_relpos_) and SAM."
)


def prepare(model: Vit) -> None:
    """Make a model with its weights, in place, ready for photos of any size."""
    model.patch_embed.strict_img_size = False
    if isinstance(model, Beit):
        for block in model.blocks:  # resampled for each grid of patches in ``embed``: kept apart, as they were learnt
            attention: AnyAttention = block.attn
            attention.learnt_bias = attention.relative_position_bias_table
            attention.relative_position_bias_table = None


def has_cls(model: Vit) -> bool:
    """Whether there is a CLS token; else the mean of the patch tokens stands for it."""
    return model.cls_token is not None


def has_heads(model: Vit) -> bool:
    """Whether queries, keys and values can be told apart in every block."""
    return all(isinstance(getattr(block, "attn", None), _ATTENTIONS) for block in model.blocks)


def embed(model: Vit, pixels: Tensor, *, antialias: bool) -> Embedded:
    """Patch embedding with CLS, registers and positions.

    Args:
        model: The transformer; a BEiT after ``prepare``.
        pixels: (B, 3, H, W), whole patches.
        antialias: How the learned positions of a ``VisionTransformer`` are resampled.
    """
    if isinstance(model, Eva):
        return _embed_rotary(model, pixels)
    if isinstance(model, Beit):
        return _embed_beit(model, pixels)
    return Embedded(_embed_plain(model, pixels, antialias=antialias))


def project(attention: AnyAttention, inputs: Tensor, rotary: Tensor | None = None) -> Heads:
    """Queries, keys and values that an attention makes of its (B, N, D) input, normalised as it does.

    Fewer heads of keys than of queries (grouped-query attention) are repeated.
    """
    if getattr(attention, "qkv", None) is not None:
        parts = F.linear(inputs, attention.qkv.weight, _bias_of(attention)).chunk(3, dim=-1)
    else:
        parts = (attention.q_proj(inputs), attention.k_proj(inputs), attention.v_proj(inputs))
    size = parts[0].shape[-1] // attention.num_heads
    queries, keys, values = (part.reshape(*part.shape[:2], -1, size).transpose(1, 2) for part in parts)
    if hasattr(attention, "q_norm"):
        queries, keys = attention.q_norm(queries), attention.k_norm(keys)
    repeats = queries.shape[1] // keys.shape[1]
    keys, values = (part.repeat_interleave(repeats, dim=1) if repeats > 1 else part for part in (keys, values))
    turned = [_turn(attention, part, rotary) for part in (queries, keys)]
    return Heads(queries, keys, values, *turned)


def _bias_of(attention: AnyAttention) -> Tensor | None:
    """Of queries, keys and values together, however the family keeps it."""
    if attention.qkv.bias is not None or getattr(attention, "q_bias", None) is None:
        return attention.qkv.bias
    return torch.cat((attention.q_bias, attention.k_bias, attention.v_bias))


def _turn(attention: AnyAttention, part: Tensor, rotary: Tensor | None) -> Tensor:
    if rotary is None:
        return part
    skip = attention.num_prefix_tokens
    turned = apply_rot_embed_cat(part[:, :, skip:], rotary, half=attention.rotate_half).type_as(part)
    return torch.cat([part[:, :, :skip], turned], dim=2)


def _embed_plain(model: VisionTransformer, pixels: Tensor, *, antialias: bool) -> Tensor:
    x, grid = _patches(model, pixels)
    extra = (model.cls_token, getattr(model, "dist_token", None), model.reg_token)
    prefix = [token.expand(len(x), -1, -1) for token in extra if token is not None]
    if model.pos_embed is not None:
        num_prefix = 0 if model.no_embed_class else model.num_prefix_tokens
        positions = resample_positions(
            model.pos_embed, num_prefix, model.patch_embed.grid_size, grid, antialias=antialias
        )
        if model.no_embed_class:
            x = torch.cat([*prefix, x + positions], dim=1)
        else:
            x = torch.cat([*prefix, x], dim=1) + positions
    else:
        x = torch.cat([*prefix, x], dim=1)
    return model.norm_pre(model.patch_drop(model.pos_drop(x)))


def _embed_rotary(model: Eva, pixels: Tensor) -> Embedded:
    x, rotary = model._pos_embed(model.patch_embed(pixels))  # it alone knows each kind of rotary embedding
    x = model.norm_pre(x)
    if rotary is None:
        return Embedded(x)
    depth = len(model.blocks)
    return Embedded(x, list(rotary) if model.rope_mixed else [rotary] * depth, "rope")


def _embed_beit(model: Beit, pixels: Tensor) -> Embedded:
    x, grid = _patches(model, pixels)
    x = torch.cat([model.cls_token.expand(len(x), -1, -1), x], dim=1)
    if model.pos_embed is not None:
        x = x + resample_positions(model.pos_embed, 1, model.patch_embed.grid_size, grid, antialias=True)
    shared = model.rel_pos_bias
    common = None if shared is None else cast(Tensor, shared.relative_position_bias_table)
    attentions: list[AnyAttention] = [block.attn for block in model.blocks]
    own = [common if attention.learnt_bias is None else attention.learnt_bias for attention in attentions]
    tables: list[Tensor] = [table for table in own if table is not None]
    if len(tables) < len(own):
        return Embedded(model.pos_drop(x))
    index = gen_relative_position_index(grid, device=x.device)
    biases = [_relative_bias(table, model.patch_embed.grid_size, grid, index) for table in tables]
    return Embedded(model.pos_drop(x), biases, "shared_rel_pos_bias")


def _relative_bias(table: Tensor, old: tuple[int, int], new: tuple[int, int], index: Tensor) -> Tensor:
    """(1, heads, 1 + N, 1 + N) of a BEiT attention, its table resampled to another grid."""
    rows = (2 * new[0] - 1) * (2 * new[1] - 1) + _CLS_AND_PATCHES
    if old != new:
        from_grid = () if old[0] == old[1] else (old,)  # which timm before 1.0.31 takes for square
        table = resize_rel_pos_bias_table(table, new, (rows, table.shape[1]), *from_grid).to(table.dtype)
    return table[index].permute(2, 0, 1)[None].contiguous()


def _patches(model: Vit, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """(B, N, D) and the grid they lie on."""
    x = model.patch_embed(pixels)
    if x.ndim == 4:  # models made with dynamic_img_size keep the grid: (B, rows, cols, D)
        return x.flatten(1, 2), (x.shape[1], x.shape[2])
    rows, cols = (side // model.patch_embed.patch_size[0] for side in pixels.shape[-2:])
    return x, (rows, cols)


def resample_positions(
    positions: Tensor, num_prefix: int, old: tuple[int, int], new: tuple[int, int], *, antialias: bool
) -> Tensor:
    """Bicubic resampling of a learned position grid: (1, prefix + old, D) -> (1, prefix + new, D)."""
    if old == new:
        return positions
    prefix, grid = positions[:, :num_prefix], positions[:, num_prefix:]
    grid = grid.reshape(1, *old, -1).permute(0, 3, 1, 2).float()  # (1, D, rows, cols)
    grid = F.interpolate(grid, size=new, mode="bicubic", antialias=antialias, align_corners=False)
    grid = grid.permute(0, 2, 3, 1).flatten(1, 2).to(prefix.dtype)  # (1, rows * cols, D)
    return torch.cat([prefix, grid], dim=1)
