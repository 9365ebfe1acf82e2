"""Whether another runtime is worth having for the frozen transformer: time and masks against PyTorch.

    python -m benchmarks.runtimes --data ../shared/data/msrc [--photos 12] [--repeats 3]

OpenVINO and ONNX Runtime are tried where they are installed (pip install openvino nncf onnxruntime onnx onnxscript).
The forward pass of the settings' views is timed alone, the cases in turn; masks are then made from each one's features
and compared with those of PyTorch in float32. ``ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2`` before the command
shows PyTorch and OpenVINO as on a processor without AVX-512; ONNX Runtime knows no such switch.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.report import print_table, write_report
from maskdistill.config import RunConfig, load_preset
from maskdistill.datasets import Photo, open_source, read_photo
from maskdistill.features.backbone import Backbone, load_backbone
from maskdistill.features.forward import FeatureRequest, Features, forward_features
from maskdistill.masks import mask_iou
from maskdistill.proposals.propose import Recipe, propose_from_views
from maskdistill.proposals.views import extract_views

Network = Callable[[np.ndarray], list[np.ndarray]]
MOST_LIKE = 0.98  # mean IoU of the masks that a runtime has to reach
FASTER = 1.3  # times as many photos a second that it has to bring


class Requested(nn.Module):
    """A transformer as a plain function from pixels to the arrays of ``Features``, in a fixed order."""

    def __init__(self, backbone: Backbone, request: FeatureRequest) -> None:
        super().__init__()
        self.model, self._request, self._antialias = backbone.model, request, backbone.spec.antialias

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """What ``flatten`` makes of the features of one photo."""
        plain = forward_features.__wrapped__  # without inference mode, which is not traced
        return tuple(flatten(plain(self.model, pixels, self._request, antialias=self._antialias)[0]))


def flatten(features: Features) -> list[Tensor]:
    """The arrays of features; ``rebuild`` is the way back."""
    single = [value for value in (features.cls_query, features.keys, features.cls_attention) if value is not None]
    groups = (features.patch_tokens, features.cls_tokens, features.projections)
    return [*single, *(group[name] for group in groups for name in sorted(group))]


def rebuild(like: Features, arrays: list[np.ndarray]) -> Features:
    """Features of the same kinds, from their arrays."""
    values = iter([torch.from_numpy(np.array(array)) for array in arrays])
    single = {name: next(values) for name in ("cls_query", "keys", "cls_attention") if getattr(like, name) is not None}
    groups: dict[str, Any] = {
        name: {key: next(values) for key in sorted(getattr(like, name))}
        for name in ("patch_tokens", "cls_tokens", "projections")
    }
    return replace(like, **single, **groups)


class OtherBackbone(Backbone):
    """A backbone whose forward pass another runtime does; a network is made for each size of photo."""

    def __init__(self, backbone: Backbone, make: Callable[[Requested, Tensor], Network]) -> None:
        super().__init__(**{name: getattr(backbone, name) for name in Backbone.__dataclass_fields__})
        self.__dict__.update(make=make, networks={}, likes={}, seconds=0.0)

    def forward(self, pixels: Tensor, request: FeatureRequest) -> list[Features]:
        """As ``Backbone.forward``, for one photo."""
        key = (tuple(pixels.shape), request)
        if key not in self.networks:
            self.likes[key] = super().forward(pixels, request)[0]
            self.networks[key] = self.make(Requested(self, request), pixels)
            self.networks[key](pixels.numpy())  # the first call compiles
        began = time.perf_counter()
        found = self.networks[key](pixels.numpy())
        self.__dict__["seconds"] += time.perf_counter() - began
        return [rebuild(self.likes[key], found)]


def openvino_network(network: Requested, pixels: Tensor, *, precision: str, weights: str = "") -> Network:
    """Compiled for this processor."""
    import openvino

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network.eval(), pixels, check_trace=False)
        model = openvino.convert_model(traced, input=[tuple(pixels.shape)])
    if weights:
        import nncf

        model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode[weights])
    compiled = openvino.Core().compile_model(
        model, "CPU", {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    )
    return lambda values: [np.array(value) for value in compiled([values]).values()]


def onnx_network(network: Requested, pixels: Tensor, *, quantised: bool) -> Network:
    """A session of ONNX Runtime, on request with 8-bit products; 7 bits of weights cannot overflow without VNNI."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "model.onnx"
        torch.onnx.export(network, (pixels,), str(path), dynamo=False, opset_version=17, input_names=["pixels"])
        if quantised:
            from onnxruntime.quantization import QuantType, quantize_dynamic

            small = Path(folder) / "small.onnx"
            quantize_dynamic(path, small, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
            path = small
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda values: session.run(None, {"pixels": values})


def main() -> None:
    """Time each runtime and compare its masks."""
    options = _parse()
    base = load_preset("quick").with_overrides([f"features.backbone={options.backbone}", "features.precision=float32"])
    photos = open_source(options.data).limited(options.photos).photos
    plain = load_backbone(base.features)
    makers: dict[str, Callable[[Requested, Tensor], Network]] = {
        "OpenVINO float32": lambda network, pixels: openvino_network(network, pixels, precision="f32"),
        "OpenVINO bfloat16": lambda network, pixels: openvino_network(network, pixels, precision="bf16"),
        "OpenVINO int8 weights": lambda network, pixels: openvino_network(
            network, pixels, precision="f32", weights="INT8_ASYM"
        ),
        "ONNX Runtime float32": lambda network, pixels: onnx_network(network, pixels, quantised=False),
        "ONNX Runtime int8": lambda network, pixels: onnx_network(network, pixels, quantised=True),
    }
    backbones: dict[str, Backbone] = {"PyTorch float32": plain}
    if options.bfloat16:
        backbones["PyTorch bfloat16"] = load_backbone(replace(base.features, precision="bfloat16"))
    for name, make in makers.items():
        if not options.only or any(part.lower() in name.lower() for part in options.only):
            backbones[name] = OtherBackbone(plain, make)
    masks, times = {}, {name: [] for name in backbones}
    for name, backbone in list(backbones.items()):
        try:
            masks[name] = masks_of(backbone, photos, base)
        except Exception as error:  # noqa: BLE001
            print(f"{name} cannot: {' '.join(str(error).split())[:200]}", flush=True)
            del backbones[name]
    for _ in range(options.repeats):
        for name, backbone in backbones.items():
            times[name].append(forward_seconds(backbone, photos, base))
    rows, result = [], {}
    for name in backbones:
        ratio = statistics.median(np.divide(times["PyTorch float32"], times[name]))
        like = float(
            np.mean(
                [best for pair in zip(masks["PyTorch float32"], masks[name], strict=True) for best in [_like(*pair)]]
            )
        )
        result[name] = {"seconds": times[name], "ratio": ratio, "mask_iou": like}
        rows.append([name, f"{1000 * statistics.median(times[name]) / len(photos):.0f}", f"{ratio:.2f}", f"{like:.3f}"])
    print_table(f"Forward passes of {len(photos)} photos", ["runtime", "ms a photo", "times as fast", "mask IoU"], rows)
    write_report(options.json, {"benchmark": "runtimes", "data": options.data, "runtimes": result})


def masks_of(backbone: Backbone, photos: tuple[Photo, ...], config: RunConfig) -> list[list[np.ndarray]]:
    """Masks of each photo."""
    recipe = Recipe.resolve(config.proposals, config.crf, backbone)
    found = []
    for photo in photos:
        image = read_photo(photo)
        size = (image.height, image.width)
        views = extract_views(backbone, image, size, config.features, recipe.request, view_scale=recipe.view_scale)
        found.append([item.mask for item in propose_from_views(*views, image, recipe).proposals])
    return found


def forward_seconds(backbone: Backbone, photos: tuple[Photo, ...], config: RunConfig) -> float:
    """Seconds of the forward passes alone, of all views of the photos."""
    recipe = Recipe.resolve(config.proposals, config.crf, backbone)
    total = 0.0
    for photo in photos:
        image = read_photo(photo)
        size, began = (image.height, image.width), time.perf_counter()
        extract_views(backbone, image, size, config.features, recipe.request, view_scale=recipe.view_scale)
        total += time.perf_counter() - began
    return total


def _like(wanted: list[np.ndarray], found: list[np.ndarray]) -> float:
    """Mean over the wanted masks of the best IoU with one that was found."""
    return float(np.mean([max((mask_iou(mask, other) for other in found), default=0.0) for mask in wanted] or [1.0]))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of photos, VOC or COCO folder, sample")
    parser.add_argument("--photos", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--backbone", default="focus_vits14")
    parser.add_argument("--only", nargs="+", default=[], help="runtimes whose name has one of these words")
    parser.add_argument("--bfloat16", action="store_true", help="PyTorch in bfloat16 too")
    parser.add_argument("--json", type=Path, help="write the result here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
