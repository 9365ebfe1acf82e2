"""One forward pass through a frozen vision transformer, returning only what is requested."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from maskdistill.errors import ConfigError, ShapeError


@dataclass(frozen=True, kw_only=True)
class FeatureRequest:
    """What a forward pass has to return; nothing else is kept in memory."""

    token_blocks: tuple[int, ...] = ()  # block numbers from 1 to depth, whose patch tokens are wanted
    cls_blocks: tuple[int, ...] = ()  # block numbers from 1 to depth, whose CLS tokens are wanted
    last_qk: bool = False  # queries and keys of the last block, and the CLS attention that follows from them


@dataclass(frozen=True)
class Features:
    """Features of one photo, float32 on the CPU. N = rows * cols patches in row-major order."""

    grid: tuple[int, int]  # rows, cols, in patches
    patch_tokens: dict[int, Tensor] = field(default_factory=dict)  # block -> (N, D), after the final norm
    cls_tokens: dict[int, Tensor] = field(default_factory=dict)  # block -> (D,), after the final norm
    cls_query: Tensor | None = None  # (heads, d), last block
    keys: Tensor | None = None  # (heads, N, d), last block
    cls_attention: Tensor | None = None  # (heads, N), softmax over CLS and patches, last block


@torch.inference_mode()
def forward_features(
    model: VisionTransformer, pixels: Tensor, request: FeatureRequest, *, antialias: bool = True
) -> list[Features]:
    """Run the transformer once over a batch of photos of one size.

    Args:
        model: Any timm ``VisionTransformer``, in eval mode.
        pixels: (B, 3, H, W) normalised pixels; H and W are multiples of the patch.
        request: What to return. Blocks after the last one that is needed are not run.
        antialias: Whether the position grid is resampled with antialiasing (timm's way) or without (DINOv2's way).

    Returns:
        One ``Features`` per photo. Register tokens are dropped; every token has gone through the model's final norm.

    Raises:
        ShapeError: If a side of the photo is not a whole number of patches.
        ConfigError: If nothing is requested, or the model has no CLS token and one is.
    """
    _check_request(model, request)
    patch = model.patch_embed.patch_size[0]
    if pixels.shape[-2] % patch or pixels.shape[-1] % patch:
        raise ShapeError("pixels", f"(B, 3, {patch}·rows, {patch}·cols)", pixels.shape)
    grid = (pixels.shape[-2] // patch, pixels.shape[-1] // patch)
    depth = len(model.blocks)
    last = depth if request.last_qk else max((*request.token_blocks, *request.cls_blocks), default=0)
    x = embed_patches(model, pixels.to(model.patch_embed.proj.weight.dtype), antialias=antialias)
    tokens: dict[int, Tensor] = {}
    wanted = {*request.token_blocks, *request.cls_blocks}
    qkv = None
    for number, block in enumerate(model.blocks[:last], start=1):
        with _captured(block.attn.qkv, active=request.last_qk and number == depth) as captured:
            x = block(x)
        qkv = captured.get("output")
        if number in wanted:
            tokens[number] = model.norm(x).float().cpu()
    return _split_batch(model, grid, tokens, request, qkv)


def _check_request(model: VisionTransformer, request: FeatureRequest) -> None:
    if not (request.token_blocks or request.cls_blocks or request.last_qk):
        raise ConfigError("The feature request is empty: ask for token_blocks, cls_blocks or last_qk.")
    if model.cls_token is None and (request.cls_blocks or request.last_qk):
        raise ConfigError("This model has no CLS token, so it has no CLS attention: use patch tokens only.")


def embed_patches(model: VisionTransformer, pixels: Tensor, *, antialias: bool) -> Tensor:
    """Patch embedding with CLS, registers and positions: (B, 3, H, W) -> (B, prefix + N, D)."""
    x = model.patch_embed(pixels)
    if x.ndim == 4:  # models made with dynamic_img_size keep the grid: (B, rows, cols, D)
        grid = (x.shape[1], x.shape[2])
        x = x.flatten(1, 2)
    else:
        grid = model.patch_embed.grid_size
    prefix = [token.expand(len(x), -1, -1) for token in (model.cls_token, model.reg_token) if token is not None]
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


@contextmanager
def _captured(module: nn.Module, *, active: bool) -> Iterator[dict[str, Tensor]]:
    """The module's output under ``"output"`` after its next call; the hook is gone when the block ends."""
    store: dict[str, Tensor] = {}
    if not active:
        yield store
        return
    caller = threading.get_ident()

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        if threading.get_ident() == caller:  # a model may serve several threads at once
            store["output"] = output

    handle = module.register_forward_hook(keep)
    try:
        yield store
    finally:
        handle.remove()


def _split_batch(
    model: VisionTransformer,
    grid: tuple[int, int],
    tokens: dict[int, Tensor],
    request: FeatureRequest,
    qkv: Tensor | None,
) -> list[Features]:
    num_prefix = model.num_prefix_tokens
    batch = len(qkv) if qkv is not None else len(next(iter(tokens.values())))
    attention = [_last_attention(model, row) for row in qkv] if request.last_qk else [{}] * batch
    return [
        Features(
            grid,
            patch_tokens={block: tokens[block][i, num_prefix:] for block in request.token_blocks},
            cls_tokens={block: tokens[block][i, 0] for block in request.cls_blocks},
            **attention[i],
        )
        for i in range(batch)
    ]


def _last_attention(model: VisionTransformer, qkv: Tensor) -> dict[str, Tensor]:
    """Query of CLS, keys of the patches, and the CLS row of the attention; the (N, N) matrix is never formed."""
    attn = model.blocks[-1].attn
    queries, keys, _ = qkv.reshape(len(qkv), 3, attn.num_heads, -1).permute(1, 2, 0, 3)  # each (heads, N, d)
    queries, keys = attn.q_norm(queries).float(), attn.k_norm(keys).float()
    logits = (keys @ queries[:, 0, :, None]).squeeze(-1) * attn.scale  # (heads, N)
    attention = logits.softmax(dim=-1)
    skip = model.num_prefix_tokens
    return {
        "cls_query": queries[:, 0].cpu(),
        "keys": keys[:, skip:].cpu(),
        "cls_attention": attention[:, skip:].cpu(),
    }
