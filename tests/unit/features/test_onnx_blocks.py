"""The blocks in 8 bits by ONNX Runtime, where it is installed: nearly the features of PyTorch, at every size."""

import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest
import timm
import torch
from tiny_run import NUM_TRAIN, NUM_VAL, run_chain

from maskdistill.config import FeatureConfig
from maskdistill.errors import ConfigError
from maskdistill.features.backbone import choose_precision, load_backbone
from maskdistill.features.families import prepare
from maskdistill.features.forward import FeatureRequest, forward_features
from maskdistill.features.onnx_blocks import OnnxBlocks
from maskdistill.masks import decode_mask, mask_iou
from maskdistill.storage.mask_store import read_masks
from maskdistill.storage.run_folder import Run

REQUEST = FeatureRequest(token_blocks=(2, 3), cls_blocks=(3,), last_qk=True, projections=(("keys", 3), ("values", 2)))


def small_vit(name="vit_tiny_patch16_224", **options):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0, depth=3, dynamic_img_size=True, **options).eval()
    prepare(model)
    return model


def flat(features):
    single = [features.cls_query, features.keys, features.cls_attention]
    return [*single, *features.patch_tokens.values(), *features.cls_tokens.values(), *features.projections.values()]


@pytest.mark.skipif(
    find_spec("onnxscript") is None or find_spec("onnxruntime") is None, reason="pip install 'maskdistill[onnx]'"
)
class TestFeatures:
    def test_are_nearly_those_of_torch_at_every_size_and_in_every_thread(self):
        model = small_vit()
        blocks = OnnxBlocks(model)
        pixels = [torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1)) for size in ((32, 48), (80, 64))]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda item: forward_features(model, item, REQUEST, run=blocks)[0], pixels * 4))
        assert len(blocks._sessions) == 1
        for item, features in zip(pixels * 4, found, strict=True):
            for ours, wanted in zip(flat(features), flat(forward_features(model, item, REQUEST)[0]), strict=True):
                assert (ours - wanted).abs().mean() < 0.05 * wanted.abs().mean()

    def test_of_photos_that_go_together_are_those_of_each_alone(self):
        model = small_vit()
        blocks = OnnxBlocks(model)
        pixels = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, 9.0]).view(
            2, 1, 1, 1
        )
        together = forward_features(model, pixels, REQUEST, run=blocks)
        for photo, features in zip(pixels, together, strict=True):
            alone = forward_features(model, photo[None], REQUEST, run=blocks)[0]
            assert all(torch.equal(*pair) for pair in zip(flat(features), flat(alone), strict=True))

    def test_rotary_positions_are_refused(self):
        model = small_vit("eva02_tiny_patch14_224")
        with pytest.raises(ConfigError, match=r"takes transformers whose blocks read tokens alone .*runtime=torch"):
            forward_features(model, torch.zeros(1, 3, 28, 28), FeatureRequest(token_blocks=(1,)), run=OnnxBlocks(model))

    def test_a_run_finds_the_masks_of_torch(self, finished, scene, tmp_path):
        config = scene[1].with_overrides(["features.runtime=onnx_int8"])
        run_chain(tmp_path / "run", scene[0], config, wanted=("proposals",))
        run = Run(tmp_path / "run")
        assert run.fingerprint_of("proposals") != finished[0].fingerprint_of("proposals")
        assert len(run.images()) == NUM_TRAIN + NUM_VAL
        ours, wanted = (read_masks(item.own_codes_path)["annotations"] for item in (run, finished[0]))
        found = {item["id"]: decode_mask(item["segmentation"]) for item in ours}
        ious = []
        for item in wanted:
            mask, photo = decode_mask(item["segmentation"]), item["image_id"]
            ious.append(max(mask_iou(mask, found[other["id"]]) for other in ours if other["image_id"] == photo))
        assert np.median(ious) >= 0.98  # weights are drawn at random, so that a cut or two hangs by a hair


def test_without_the_library_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"pip install 'maskdistill\[onnx\]'"):
        OnnxBlocks(small_vit())


def test_it_is_float32_on_the_cpu(tiny_weights):
    assert choose_precision("auto", torch.device("cpu"), "onnx_int8") == "float32"
    config = FeatureConfig(**{**tiny_weights, "precision": "bfloat16"}, runtime="onnx_int8")
    with pytest.raises(ConfigError, match="works in float32 on the CPU, this is bfloat16 on cpu"):
        load_backbone(config)
