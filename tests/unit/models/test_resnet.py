import argparse
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18, resnet50, resnet101, wide_resnet50_2
from torchvision.ops import FrozenBatchNorm2d

from maskdistill.errors import CheckpointError, ConfigError
from maskdistill.models.resnet import freeze_stages, load_resnet50


def flat(build, offset=0.0):
    """A network's state dict in which each tensor has a value of its own; expanded, so that files stay small."""
    with torch.device("meta"):
        state = build(weights=None).state_dict()
    return {
        name: (torch.tensor(number) if value.ndim == 0 else torch.full((1,), offset + number).expand(value.shape))
        for number, (name, value) in enumerate(state.items())
    }


BODY = {name: value for name, value in flat(resnet50).items() if not name.startswith("fc.")}
OTHER = {name: value for name, value in flat(resnet50, offset=0.5).items() if not name.startswith("fc.")}
OLD = {name: value for name, value in BODY.items() if "num_batches" not in name}  # before torch 0.4.1


def prefixed(prefix, state):
    return {f"{prefix}{name}": value for name, value in state.items()}


def mlp(prefix):
    return {f"{prefix}{layer}.{part}": torch.zeros(3, 3) for layer in (0, 2) for part in ("weight", "bias")}


def dino_checkpoint():
    student = {**prefixed("module.backbone.", OTHER), **mlp("module.head.mlp."), "module.head.last_layer.weight_g": 1}
    teacher = {**prefixed("backbone.", BODY), **mlp("head.mlp.")}
    options = argparse.Namespace(arch="resnet50", lr=0.03, use_fp16=True)
    return {"student": student, "teacher": teacher, "optimizer": {"state": {}}, "epoch": 800, "args": options}


def moco(query="encoder_q", key="encoder_k", head="fc."):
    state = {**prefixed(f"module.{query}.", BODY), **mlp(f"module.{query}.{head}")}
    state |= {**prefixed(f"module.{key}.", OTHER), **mlp(f"module.{key}.{head}")}
    return {"epoch": 800, "arch": "resnet50", "state_dict": {**state, "module.queue": torch.zeros(128, 8)}}


FORMATS = {
    "dino, released": BODY,
    "dino, full": dino_checkpoint(),
    "moco v1": {
        "state_dict": {**prefixed("module.encoder_q.", OLD), "module.encoder_q.fc.weight": torch.zeros(128, 9)}
    },
    "moco v2, full": moco(),
    "moco v3": moco("base_encoder", "momentum_encoder"),
    "torchvision": flat(resnet50),
    "timm, in model": {"model": flat(resnet50)},
    "lightning": {"state_dict": prefixed("model.backbone.", BODY)},
}


@pytest.fixture
def body():
    with torch.device("meta"):
        network = resnet50(weights=None)
    return network.to_empty(device="cpu")


def assert_loaded(network, state=BODY):
    for name, value in network.state_dict().items():
        if not name.startswith("fc.") and "num_batches" not in name:
            assert (value == state[name]).all(), name


@pytest.mark.parametrize("kind", FORMATS)
def test_every_published_format(tmp_path, body, kind):
    path = tmp_path / "weights.pth.tar"
    torch.save(FORMATS[kind], path)
    nn.init.constant_(body.fc.weight, 7.0)
    load_resnet50(body, path)
    assert_loaded(body)
    assert (body.fc.weight == 7).all()  # a classifier of the model is not the file's business


@pytest.mark.parametrize("kind", ["dino, full", "moco v2, full"])
def test_files_as_torch_wrote_them_before_1_6(tmp_path, body, kind):
    torch.save(FORMATS[kind], tmp_path / "weights.pth", _use_new_zipfile_serialization=False)
    load_resnet50(body, tmp_path / "weights.pth")
    assert_loaded(body)


def test_safetensors(tmp_path, body):
    save_file({name: value.contiguous() for name, value in BODY.items()}, tmp_path / "r50.safetensors")
    load_resnet50(body, tmp_path / "r50.safetensors")
    assert_loaded(body)


def test_body_with_frozen_batch_norm(tmp_path):
    torch.save(FORMATS["moco v2, full"], tmp_path / "moco.pth")
    with torch.device("meta"):
        network = resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
    network = network.to_empty(device="cpu")
    load_resnet50(network, tmp_path / "moco.pth")
    assert_loaded(network)


def check_refused(path, pattern):
    with pytest.raises(CheckpointError, match=pattern) as caught:
        load_resnet50(nn.Module(), path)
    assert str(path) in str(caught.value)


def test_other_networks_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(flat(resnet18), path)
    check_refused(path, r"holds a ResNet-18, wanted a ResNet-50\. Give a ResNet-50 as DINO or MoCo publish it")
    torch.save(flat(resnet101), path)
    check_refused(path, r"holds a ResNet-101, wanted a ResNet-50")
    torch.save({"blocks.0.attn.qkv.weight": torch.zeros(3, 3), "cls_token": torch.zeros(1)}, path)
    check_refused(path, r"holds no ResNet: it has no 'conv1.weight'.*dino_resnet50_pretrain.pth")
    torch.save(flat(wide_resnet50_2), path)
    check_refused(path, r"another shape \(128, 64, 1, 1\) of 'layer1.0.conv1.weight'.*wanted \(64, 64, 1, 1\)")
    torch.save({name: value for name, value in BODY.items() if name != "layer4.2.bn3.running_var"}, path)
    check_refused(path, r"has no 'layer4.2.bn3.running_var'.*wanted \(2048,\)")


def test_files_that_hold_no_weights(tmp_path):
    check_refused(tmp_path / "none.pth", "No file of weights at")
    path = tmp_path / "weights.pth"
    path.write_text("<html>404: not found</html>")
    check_refused(path, "cannot be read as weights")
    path.write_bytes(b"")
    check_refused(path, "cannot be read as weights")
    torch.save(BODY, path)
    path.write_bytes(path.read_bytes()[:2000])
    check_refused(path, "cannot be read as weights")
    torch.save([1, 2], path)
    check_refused(path, "holds no tensors by name but a list")
    torch.save({"epoch": 3, "args": argparse.Namespace(lr=1)}, path)
    check_refused(path, "holds no tensors under")


def test_nothing_in_a_file_is_executed(tmp_path):
    class Attack:
        def __reduce__(self):
            return (tmp_path / "touched").touch, ()

    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps({"state_dict": Attack()}))
    check_refused(path, "cannot be read as weights")
    torch.save({"state_dict": Attack()}, path)
    check_refused(path, "cannot be read as weights")
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("num_stages", range(6))
def test_first_stages_are_frozen(body, num_stages):
    modules = freeze_stages(body, num_stages)
    order = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"]
    wanted = order[: num_stages + 1 if num_stages else 0]
    assert modules == [body.get_submodule(name) for name in wanted]
    for name, parameter in body.named_parameters():
        assert parameter.requires_grad != (name.split(".")[0] in wanted), name


def test_more_stages_than_there_are(body):
    with pytest.raises(ConfigError, match=r"frozen_stages must be in \[0, 5\], got 6"):
        freeze_stages(body, 6)
