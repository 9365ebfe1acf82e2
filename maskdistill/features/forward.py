"""One forward pass through a frozen vision transformer, returning only what is requested."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor, nn

from maskdistill.errors import ConfigError, ShapeError
from maskdistill.features.families import AnyAttention, Embedded, Heads, Vit, embed, has_cls, has_heads, project

Projection = Literal["queries", "keys", "values"]
PROJECTIONS: tuple[Projection, ...] = get_args(Projection)


@dataclass(frozen=True, kw_only=True)
class FeatureRequest:
    """What a forward pass has to return; nothing else is kept in memory."""

    token_blocks: tuple[int, ...] = ()  # block numbers from 1 to depth, whose patch tokens are wanted
    cls_blocks: tuple[int, ...] = ()  # block numbers from 1 to depth, whose CLS tokens are wanted
    last_qk: bool = False  # queries and keys of the last block, and the CLS attention that follows from them
    projections: tuple[tuple[Projection, int], ...] = ()  # queries, keys or values of the patches, and their block

    def without(self, other: "FeatureRequest") -> "FeatureRequest":
        """What this one asks for and the other does not."""
        return FeatureRequest(
            token_blocks=tuple(block for block in self.token_blocks if block not in other.token_blocks),
            cls_blocks=tuple(block for block in self.cls_blocks if block not in other.cls_blocks),
            last_qk=self.last_qk and not other.last_qk,
            projections=tuple(item for item in self.projections if item not in other.projections),
        )

    def joined(self, other: "FeatureRequest") -> "FeatureRequest":
        """What either asks for."""
        return FeatureRequest(
            token_blocks=tuple(sorted({*self.token_blocks, *other.token_blocks})),
            cls_blocks=tuple(sorted({*self.cls_blocks, *other.cls_blocks})),
            last_qk=self.last_qk or other.last_qk,
            projections=tuple(sorted({*self.projections, *other.projections})),
        )


@dataclass(frozen=True)
class Features:
    """Features of one photo, float32 on the CPU. N = rows * cols patches in row-major order."""

    grid: tuple[int, int]  # rows, cols, in patches
    patch_tokens: dict[int, Tensor] = field(default_factory=dict)  # block -> (N, D), after the final norm
    cls_tokens: dict[int, Tensor] = field(default_factory=dict)  # block -> (D,), after the final norm
    cls_query: Tensor | None = None  # (heads, d), last block
    keys: Tensor | None = None  # (heads, N, d), last block, as its attention uses them (with rotary positions)
    cls_attention: Tensor | None = None  # (heads, N), softmax over all tokens, last block
    # kind, block -> (heads, N, d), without rotary positions
    projections: dict[tuple[Projection, int], Tensor] = field(default_factory=dict)


def array_of(values: Tensor | None) -> np.ndarray:
    """Queries, keys or attention of ``Features`` as an array.

    Raises:
        ValueError: If they were not requested.
    """
    if values is None:
        raise ValueError("Queries and keys are there only where the request has last_qk.")
    return values.numpy()


@dataclass(frozen=True)
class BlockOutputs:
    """What a pass through the blocks leaves, of a batch of photos."""

    tokens: dict[int, Tensor]  # block -> (B, prefix + N, D) after it and the final norm
    inputs: dict[int, Tensor]  # block -> (B, prefix + N, D), what its attention reads


class RunBlocks(Protocol):
    """Something that does a pass through the blocks."""

    def __call__(self, model: Vit, embedded: Embedded, wanted: Sequence[int], projected: Sequence[int]) -> BlockOutputs:
        """Tokens of the wanted blocks and inputs of the projected ones, by their numbers from 1."""
        ...


def run_blocks(
    model: Vit,
    embedded: Embedded,
    wanted: Sequence[int],
    projected: Sequence[int],
    compiled: Sequence[Callable[..., Tensor]] | None = None,
) -> BlockOutputs:
    """A pass by PyTorch, through no more blocks than are asked for.

    ``compiled`` are the same blocks by ``torch.compile``; projected ones, which are listened to, run as they are.
    """
    x, found = embedded.tokens, BlockOutputs({}, {})
    for number, block in enumerate(model.blocks[: max((*wanted, *projected))], start=1):
        run = compiled[number - 1] if compiled and number not in projected else block
        with _captured(getattr(block, "attn", None), active=number in projected) as captured:
            x = run(x, **embedded.options(number - 1))
        if number in projected:
            found.inputs[number] = captured["input"]
        if number in wanted:
            found.tokens[number] = model.norm(x)
    return found


def compile_blocks(model: Vit, backend: str = "inductor") -> RunBlocks:
    """``run_blocks`` by ``torch.compile``: once for all sizes of photos, at the first of them."""
    blocks = [torch.compile(block, dynamic=True, backend=backend) for block in model.blocks]
    return partial(run_blocks, compiled=blocks)


@torch.inference_mode()
def forward_features(
    model: Vit, pixels: Tensor, request: FeatureRequest, *, antialias: bool = True, run: RunBlocks = run_blocks
) -> list[Features]:
    """Run the transformer once over a batch of photos of one size.

    Args:
        model: A vision transformer of timm that ``check_family`` accepts, in eval mode; a BEiT after ``prepare``.
        pixels: (B, 3, H, W) normalised pixels; H and W are multiples of the patch.
        request: What to return. Blocks after the last one that is needed are not run.
        antialias: Whether the position grid is resampled with antialiasing (timm's way) or without (DINOv2's way).
        run: What runs the blocks.

    Returns:
        One ``Features`` per photo. Register tokens are dropped; every token has gone through the model's final norm.
        Where a model has no CLS token, the mean of the patch tokens stands for it.

    Raises:
        ShapeError: If a side of the photo is not a whole number of patches.
        ConfigError: If nothing is requested, or what this model does not have.
    """
    _check_request(model, request)
    patch = model.patch_embed.patch_size[0]
    if pixels.shape[-2] % patch or pixels.shape[-1] % patch:
        raise ShapeError("pixels", f"(B, 3, {patch}·rows, {patch}·cols)", pixels.shape)
    grid = (pixels.shape[-2] // patch, pixels.shape[-1] // patch)
    depth = len(model.blocks)
    wanted = sorted({*request.token_blocks, *request.cls_blocks})
    projected = sorted({block for _, block in request.projections} | ({depth} if request.last_qk else set()))
    embedded = embed(model, pixels.to(model.patch_embed.proj.weight.dtype), antialias=antialias)
    found = run(model, embedded, wanted, projected)
    tokens = {number: values.float().cpu() for number, values in found.tokens.items()}
    heads = {}
    for number, values in found.inputs.items():
        rotary = embedded.positions[number - 1] if embedded.name == "rope" else None
        heads[number] = project(model.blocks[number - 1].attn, values, rotary)
    parts = _split_heads(model, heads, request, embedded)
    return [
        Features(
            grid,
            patch_tokens={block: tokens[block][i, model.num_prefix_tokens :] for block in request.token_blocks},
            cls_tokens={block: _cls_token(model, tokens[block][i]) for block in request.cls_blocks},
            **parts[i],
        )
        for i in range(len(pixels))
    ]


def _check_request(model: Vit, request: FeatureRequest) -> None:
    if not (request.token_blocks or request.cls_blocks or request.last_qk or request.projections):
        raise ConfigError("The feature request is empty: ask for token_blocks, cls_blocks, projections or last_qk.")
    if request.last_qk and not has_cls(model):
        raise ConfigError(
            "This model has no CLS token, so it has no CLS attention: use the engine 'ncut', and a foreground other "
            "than 'attended'."
        )
    if (request.last_qk or request.projections) and not has_heads(model):
        kind = type(model.blocks[-1]).__name__
        raise ConfigError(
            f"The blocks of this model ({kind}) have no queries, keys and values of their own: set "
            "proposals.feature=tokens."
        )


def _cls_token(model: Vit, tokens: Tensor) -> Tensor:
    """(D,) of the (prefix + N, D) tokens of one photo."""
    return tokens[0] if has_cls(model) else tokens[model.num_prefix_tokens :].mean(dim=0)


@contextmanager
def _captured(module: nn.Module | None, *, active: bool) -> Iterator[dict[str, Tensor]]:
    """What the module is called with next, under ``"input"``; the hook is gone when the block ends."""
    store: dict[str, Tensor] = {}
    if not active:
        yield store
        return
    assert module is not None  # other models are refused by ``_check_request``
    caller = threading.get_ident()

    def keep(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if threading.get_ident() == caller:  # a model may serve several threads at once
            store["input"] = inputs[0]

    handle = module.register_forward_pre_hook(keep)
    try:
        yield store
    finally:
        handle.remove()


def _split_heads(
    model: Vit, heads: dict[int, Heads], request: FeatureRequest, embedded: Embedded
) -> list[dict[str, Any]]:
    """What is asked of queries, keys and values, of each photo of the batch."""
    skip, depth = model.num_prefix_tokens, len(model.blocks)
    kept = {(kind, block): _on_cpu(getattr(heads[block], kind)[:, :, skip:]) for kind, block in request.projections}
    found: list[dict[str, Any]] = []
    for i in range(len(embedded.tokens)):
        parts: dict[str, Any] = {"projections": {name: values[i] for name, values in kept.items()}}
        if request.last_qk:
            bias = embedded.positions[-1][0, :, 0] if embedded.name == "shared_rel_pos_bias" else 0
            parts |= _last_attention(model, heads[depth], i, bias)
            if embedded.name != "rope" and ("keys", depth) in kept:
                parts["keys"] = kept["keys", depth][i]  # the same numbers once
        found.append(parts)
    return found


def _on_cpu(values: Tensor) -> Tensor:
    return values.float().cpu()


def _last_attention(model: Vit, heads: Heads, photo: int, bias: Tensor | int) -> dict[str, Tensor]:
    """Query of CLS, keys of the patches, and the CLS row of the attention; the (N, N) matrix is never formed."""
    query, keys = heads.turned_queries[photo, :, 0].float(), heads.turned_keys[photo].float()
    attention: AnyAttention = model.blocks[-1].attn
    logits = (keys @ query[:, :, None]).squeeze(-1) * attention.scale + bias  # (heads, N)
    weights = logits.softmax(dim=-1)
    skip = model.num_prefix_tokens
    return {"cls_query": query.cpu(), "keys": keys[:, skip:].cpu(), "cls_attention": weights[:, skip:].cpu()}
