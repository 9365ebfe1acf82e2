"""Networks as ONNX graphs: traced by torch, opened by ONNX Runtime on the CPU."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from maskdistill.errors import ConfigError


class Session(Protocol):
    """What is needed of ``onnxruntime.InferenceSession``."""

    def run(self, names: Sequence[str] | None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs of these names; of all in their order without."""
        ...


def check_packages(what: str) -> None:
    """Raise ``ConfigError`` where a package is missing that ``what``, the start of a sentence, needs."""
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"{what} needs the package {error.name}, which is not installed. Install what it takes: "
            "pip install 'maskdistill[onnx]'"
        ) from error


def trace(network: nn.Module, example: Tensor, *, opset: int) -> Any:
    """A network of one (1, N, D) tensor as an ``onnx.ModelProto`` that takes any N from 2 on."""
    count = torch.export.Dim("patches", min=2, max=2**16)
    program = torch.onnx.export(
        network, (example,), dynamo=True, opset_version=opset, dynamic_shapes=({1: count},), verbose=False
    )
    assert program is not None  # as dynamo makes one
    return program.model_proto


def open_session(content: bytes, *, num_threads: int = 0) -> Session:
    """A session on the CPU; 0: as many threads as there are cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = num_threads
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
