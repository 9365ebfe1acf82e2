"""From an upright photo to a label map as one ONNX graph: sizes, resizing, the network, upsampling. No torch here.

The network is given as a graph from patch embeddings to logits. What stands around it is put together here node by
node, because only so the patch grid can follow a photo's size: a traced graph would keep that of its example.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from maskdistill.datasets.transforms import ResizeMode

OPSET = 18  # the first in which Resize reduces aliasing
IR_VERSION = 10  # which onnxruntime reads from 1.18 on
MAX_RATIO = 4.0  # as ``datasets.transforms.patch_grid`` has it
INPUT, LABELS, LOGITS = "photo", "labels", "logits"
_SMOOTH = {"mode": "cubic", "antialias": 1, "cubic_coeff_a": -0.5, "exclude_outside": 1}  # Pillow's bicubic
_PLAIN = {"mode": "cubic", "cubic_coeff_a": -0.75}  # torch's bicubic without antialiasing


@dataclass(frozen=True, kw_only=True)
class PatchReading:
    """How a transformer reads a photo; arrays are float32."""

    kernel: np.ndarray  # (D, 3, patch, patch) of the patch embedding
    bias: np.ndarray  # (D,)
    positions: np.ndarray | None  # (1, D, rows, cols) learned grid, without the prefix
    mean: Sequence[float]  # of red, green and blue in [0, 1]
    std: Sequence[float]  # likewise
    shorter_side: int  # network pixels
    fit: ResizeMode
    antialias: bool  # how the grid of positions is resampled

    @property
    def patch_size(self) -> int:
        """Network pixels, side of a patch."""
        return self.kernel.shape[-1]


def photo_graph(network: ModelProto, reading: PatchReading, num_classes: int) -> ModelProto:
    """One graph out of reading, network and upsampling.

    Args:
        network: One input (1, N, D) of patch embeddings with positions, row by row; one output (N, K + 1) logits.
        reading: Of the photo.
        num_classes: K.

    Returns:
        A model with the input ``photo``, uint8 (height, width, 3) RGB of any size, and the outputs ``labels``, uint8
        (height, width), 0 background, and ``logits``, float32 (K + 1, height, width).
    """
    graph = _Graph()
    sizes = _sizes(graph, reading)
    network = onnx.compose.add_prefix(network, "net/")
    graph("Identity", _embed(graph, reading, sizes), output=network.graph.input[0].name)
    graph.nodes.extend(network.graph.node)
    _upsample(graph, network.graph.output[0].name, sizes, reading.fit, num_classes + 1)
    size = ["height", "width"]
    whole = helper.make_graph(
        graph.nodes,
        "maskdistill",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [*size, 3])],
        [
            helper.make_tensor_value_info(LABELS, TensorProto.UINT8, size),
            helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, [num_classes + 1, *size]),
        ],
        [*graph.constants, *network.graph.initializer],
    )
    imports = {item.domain: item.version for item in network.opset_import} | {"": OPSET}
    opsets = [helper.make_opsetid(domain, version) for domain, version in imports.items()]
    model = helper.make_model(whole, opset_imports=opsets, ir_version=IR_VERSION, functions=list(network.functions))
    onnx.checker.check_model(model)
    return model


class _Graph:
    """Nodes and constants in the making; values go by their names."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def __call__(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node with one output, and return that output's name."""
        output = output or f"{kind.lower()}/{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, *values: float, dtype: type = np.int64) -> str:
        """A vector."""
        return self.array(np.array(values, dtype))

    def array(self, value: np.ndarray | np.generic) -> str:
        """A constant of any shape."""
        name = f"constant/{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def whole(self, values: str) -> str:
        """As whole numbers, of at least 1."""
        at_least = self("Max", values, self.constant(1, dtype=np.float64))
        return self("Cast", at_least, to=TensorProto.INT64)

    def nearest(self, values: str) -> str:
        """Rounded, halves up."""
        return self("Floor", self("Add", values, self.constant(0.5, dtype=np.float64)))

    def resize(self, values: str, size: str, **attributes: Any) -> str:
        """Values (B, C, H, W) at another size, all four numbers of it."""
        return self("Resize", values, "", "", size, coordinate_transformation_mode="half_pixel", **attributes)

    def start(self, values: str) -> str:
        """The first two of several numbers."""
        return self("Slice", values, self.constant(0), self.constant(2))


@dataclass(frozen=True)
class _Sizes:
    """Names of pairs of whole numbers, heights first, as in ``PatchGeometry``."""

    photo: str
    content: str  # the photo in network pixels
    padded: str  # with padding
    grid: str  # in patches


def _sizes(graph: _Graph, reading: PatchReading) -> _Sizes:
    """``patch_grid`` in ONNX: in float64 and in the same order, so that halves are rounded alike."""
    size = graph.start(graph("Shape", INPUT))
    sides = graph("Cast", size, to=TensorProto.DOUBLE)
    shorter = graph.constant(reading.shorter_side, dtype=np.float64)
    longer = graph.constant(MAX_RATIO * reading.shorter_side, dtype=np.float64)
    by_shorter = graph("Div", shorter, graph("ReduceMin", sides, keepdims=1))
    by_longer = graph("Div", longer, graph("ReduceMax", sides, keepdims=1))
    scaled = graph("Mul", sides, graph("Min", by_shorter, by_longer))
    patch = graph.constant(reading.patch_size)
    if reading.fit == "resize":
        shares = graph("Div", scaled, graph.constant(reading.patch_size, dtype=np.float64))
        grid = graph.whole(graph.nearest(shares))
        padded = content = graph("Mul", grid, patch)
    else:
        content = graph.whole(graph.nearest(scaled))
        grid = graph("Div", graph("Add", content, graph.constant(reading.patch_size - 1)), patch)
        padded = graph("Mul", grid, patch)
    return _Sizes(size, content, padded, grid)


def _embed(graph: _Graph, reading: PatchReading, sizes: _Sizes) -> str:
    """From the photo to (1, N, D) patch embeddings with positions: ``to_pixels`` and ``embed_patches`` in ONNX.

    Pixels stay fractions after resizing, where Pillow rounds them: a difference of half a level of 255.
    """
    colors = graph("Unsqueeze", graph("Cast", INPUT, to=TensorProto.FLOAT), graph.constant(0))
    planes = graph("Transpose", colors, perm=[0, 3, 1, 2])
    target = graph("Concat", graph.constant(1, 3), sizes.content, axis=0)
    high = graph.array(np.float32(255))
    clipped = graph("Clip", graph.resize(planes, target, **_SMOOTH), graph.array(np.float32(0)), high)
    mean, std = (graph.array(np.array(item, np.float32).reshape(1, 3, 1, 1)) for item in (reading.mean, reading.std))
    normal = graph("Div", graph("Sub", graph("Div", clipped, high), mean), std)
    margins = graph("Concat", graph.constant(*[0] * 6), graph("Sub", sizes.padded, sizes.content), axis=0)
    pixels = graph("Pad", normal, margins)
    kernel, bias = graph.array(reading.kernel), graph.array(reading.bias)
    cells = graph("Conv", pixels, kernel, bias, strides=[reading.patch_size] * 2)
    if reading.positions is not None:
        lattice = graph("Concat", graph.constant(1, len(reading.bias)), sizes.grid, axis=0)
        how = _SMOOTH if reading.antialias else _PLAIN
        cells = graph("Add", cells, graph.resize(graph.array(reading.positions), lattice, **how))
    rows = graph("Reshape", cells, graph.constant(1, len(reading.bias), -1))
    return graph("Transpose", rows, perm=[0, 2, 1])


def _upsample(graph: _Graph, flat: str, sizes: _Sizes, fit: ResizeMode, channels: int) -> None:
    """From (N, C) logits to the outputs at the photo's size: ``patch_head.upsample`` in ONNX."""
    classes = graph.constant(1, channels)
    shape = graph("Concat", classes, sizes.grid, axis=0)
    values = graph("Reshape", graph("Transpose", flat, perm=[1, 0]), shape)
    if fit == "pad":
        values = _without_padding(graph, values, sizes, classes)
    full = graph("Concat", classes, sizes.photo, axis=0)
    logits = graph("Squeeze", graph.resize(values, full, mode="linear"), graph.constant(0), output=LOGITS)
    best = graph("ArgMax", logits, axis=0, keepdims=0)
    graph("Cast", best, to=TensorProto.UINT8, output=LABELS)


def _without_padding(graph: _Graph, values: str, sizes: _Sizes, classes: str) -> str:
    """Upsampled to network pixels and cut; as they are where there is no padding."""
    branch = _Graph()
    wide = branch.resize(values, branch("Concat", classes, sizes.padded, axis=0), mode="linear")
    zeros, axes = graph.constant(0, 0), graph.constant(2, 3)
    cut = branch("Slice", wide, zeros, sizes.content, axes, output="cut")
    same = _Graph()
    kept = same("Identity", values, output="kept")
    any_size = [1, None, None, None]
    branches = {
        f"{name}_branch": helper.make_graph(
            part.nodes, name, [], [helper.make_tensor_value_info(result, TensorProto.FLOAT, any_size)]
        )
        for name, part, result in (("then", same, kept), ("else", branch, cut))
    }
    equal = graph("Cast", graph("Equal", sizes.padded, sizes.content), to=TensorProto.INT64)
    exact = graph("Cast", graph("ReduceMin", equal, keepdims=0), to=TensorProto.BOOL)
    return graph("If", exact, **branches)
