"""The blocks of a frozen transformer by OpenVINO: on a processor without bfloat16 units faster than PyTorch."""

import sys
import warnings
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from maskdistill.errors import ConfigError
from maskdistill.features.families import Embedded, Vit
from maskdistill.features.forward import BlockOutputs, run_blocks

INSTALL_HINT = "features.runtime=openvino needs the library openvino. Install it: pip install 'maskdistill[openvino]'."


class OpenVinoBlocks:
    """Runs the blocks of one transformer, in float32; compiled once for the blocks that are asked for.

    Args:
        model: In float32, on the CPU.

    Raises:
        ConfigError: If the library is not installed, or the blocks take more than tokens.
    """

    def __init__(self, model: Vit) -> None:
        self._openvino, self._model = _import_openvino(), model
        self._compiled: dict[tuple[tuple[int, ...], tuple[int, ...]], Any] = {}
        self._lock = Lock()  # threads of a server may ask for the same first

    def __call__(self, model: Vit, embedded: Embedded, wanted: Sequence[int], projected: Sequence[int]) -> BlockOutputs:
        """As ``run_blocks``."""
        if embedded.positions:
            raise ConfigError(
                "features.runtime=openvino takes transformers whose blocks read tokens alone (DINO, DINOv2, iBOT, "
                "MAE), not those with rotary or relative positions. Set features.runtime=torch."
            )
        key = tuple(wanted), tuple(projected)
        with self._lock:
            if key not in self._compiled:
                self._compiled[key] = self._compile(embedded.tokens, *key)
        request = self._compiled[key].create_infer_request()  # one a call: several threads may be at it
        found = [torch.from_numpy(np.array(item)) for item in request.infer([embedded.tokens.numpy()]).values()]
        return BlockOutputs(
            tokens=dict(zip(wanted, found, strict=False)),
            inputs=dict(zip(projected, found[len(wanted) :], strict=True)),
        )

    def _compile(self, tokens: Tensor, wanted: tuple[int, ...], projected: tuple[int, ...]) -> Any:
        plain = _PlainBlocks(self._model, wanted, projected)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # shapes that the trace asks about do not change what it does
            traced = torch.jit.trace(plain, tokens.clone(), check_trace=False)
            model = self._openvino.convert_model(traced, input=[(-1, -1, tokens.shape[-1])])
        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        return self._openvino.Core().compile_model(model, "CPU", options)


def _import_openvino() -> Any:
    """The library without the package by which its import reports to Intel that it is used: nothing here does so."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise ConfigError(INSTALL_HINT) from error
    return openvino


class _PlainBlocks(nn.Module):
    """``run_blocks`` from a tensor to tensors, to be traced."""

    def __init__(self, model: Vit, wanted: tuple[int, ...], projected: tuple[int, ...]) -> None:
        super().__init__()
        self.model, self._wanted, self._projected = model, wanted, projected

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Tokens after the wanted blocks, then what the attention of the projected ones reads."""
        found = run_blocks(self.model, Embedded(tokens), self._wanted, self._projected)
        return (*(found.tokens[block] for block in self._wanted), *(found.inputs[block] for block in self._projected))
