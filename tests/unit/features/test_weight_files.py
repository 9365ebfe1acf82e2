"""Weights from files: those that others published, and bad ones."""

import pickle

import pytest
import timm
import torch
from safetensors.torch import save_file

from maskdistill.config import FeatureConfig
from maskdistill.errors import CheckpointError
from maskdistill.features import backbone
from maskdistill.features.backbone import load_backbone
from maskdistill.features.registry import choose_backbone

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
