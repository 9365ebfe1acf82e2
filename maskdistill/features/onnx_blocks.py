"""The blocks of a frozen transformer by ONNX Runtime, whose weights are multiplied in 8 bits."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from maskdistill.errors import ConfigError
from maskdistill.features.families import Embedded, Vit
from maskdistill.features.forward import BlockOutputs, run_blocks
from maskdistill.features.onnx_graphs import Session, check_packages, open_session, trace

OPSET = 18  # as torch writes it, without conversion


class OnnxBlocks:
    """Runs the blocks of one transformer; traced once for the blocks that are asked for, some seconds each.

    What goes into a product with weights is rounded to 8 bits too, by the range of its photo's values; attention and
    the rest stay in float32.

    Args:
        model: In float32, on the CPU.

    Raises:
        ConfigError: If a library is not installed, or the blocks take more than tokens.
    """

    def __init__(self, model: Vit) -> None:
        check_packages("features.runtime=onnx_int8")
        self._model = model
        self._sessions: dict[tuple[tuple[int, ...], tuple[int, ...]], Session] = {}
        self._lock = Lock()  # threads of a server may ask for the same first

    def __call__(self, model: Vit, embedded: Embedded, wanted: Sequence[int], projected: Sequence[int]) -> BlockOutputs:
        """As ``run_blocks``; photo by photo, so that none is rounded by another's range."""
        if embedded.positions:
            raise ConfigError(
                "features.runtime=onnx_int8 takes transformers whose blocks read tokens alone (DINO, DINOv2, iBOT, "
                "MAE), not those with rotary or relative positions. Set features.runtime=torch."
            )
        key = tuple(wanted), tuple(projected)
        with self._lock:
            if key not in self._sessions:
                self._sessions[key] = self._open(embedded.tokens.shape[-1], *key)
        photos = [self._sessions[key].run(None, {"tokens": photo.numpy()}) for photo in embedded.tokens.split(1)]
        found = [torch.cat([torch.from_numpy(item) for item in items]) for items in zip(*photos, strict=True)]
        return BlockOutputs(
            tokens=dict(zip(wanted, found, strict=False)),
            inputs=dict(zip(projected, found[len(wanted) :], strict=True)),
        )

    def _open(self, dimensions: int, wanted: tuple[int, ...], projected: tuple[int, ...]) -> Session:
        graph = trace(_PlainBlocks(self._model, wanted, projected).eval(), torch.randn(1, 20, dimensions), opset=OPSET)
        return open_session(_in_8_bits(graph), num_threads=torch.get_num_threads())


def _in_8_bits(graph: Any) -> bytes:
    """Weights of 7 bits with a scale for each column: with 8, processors without VNNI overflow."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    done = graph.metadata_props.add()  # shapes and constants, by torch; without it a warning asks for that
    done.key, done.value = "onnx.quant.pre_process", "onnxruntime.quant"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "blocks.onnx"
        quantize_dynamic(graph, path, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
        return path.read_bytes()


class _PlainBlocks(nn.Module):
    """``run_blocks`` from a tensor to tensors, to be traced."""

    def __init__(self, model: Vit, wanted: tuple[int, ...], projected: tuple[int, ...]) -> None:
        super().__init__()
        self.model, self._wanted, self._projected = model, wanted, projected

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Tokens after the wanted blocks, then what the attention of the projected ones reads."""
        found = run_blocks(self.model, Embedded(tokens), self._wanted, self._projected)
        return (*(found.tokens[block] for block in self._wanted), *(found.inputs[block] for block in self._projected))
