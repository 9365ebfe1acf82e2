import pytest
import torch
from torch import nn

from maskdistill.errors import CheckpointError
from maskdistill.models.trained import load_trained
from maskdistill.models.training.checkpoint import write_tensors


class Tiny(nn.Module):
    def __init__(self, num_classes, width=3):
        super().__init__()
        self.first, self.last = nn.Linear(5, width), nn.Linear(width, num_classes + 1)


def load(path, width=3):
    return load_trained(path, "tiny model", "last.weight", lambda num_classes, _: Tiny(num_classes, width))


@pytest.fixture
def saved(tmp_path):
    """A model, and the file of its weights."""
    model, path = Tiny(4), tmp_path / "model.safetensors"
    write_tensors(path, model.state_dict(), {"step": 7})
    return model, path


def test_weights_come_back_in_a_model_of_as_many_classes(saved):
    model, path = saved
    loaded = load(path)
    assert loaded.last.out_features == 5
    for name, values in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], values)


def test_file_is_at_hand_while_the_model_is_built(saved):
    model, path = saved
    seen = {}

    def build(num_classes, tensors):
        seen.update(tensors)
        return Tiny(num_classes)

    load_trained(path, "tiny model", "last.weight", build)
    assert seen.keys() == model.state_dict().keys()


def test_another_model_is_named(tmp_path):
    write_tensors(tmp_path / "other.safetensors", {"backbone.weight": torch.ones(2)}, {})
    with pytest.raises(CheckpointError, match=r"other\.safetensors holds no tiny model: it has no 'last\.weight'"):
        load(tmp_path / "other.safetensors")


def test_other_settings_are_named(saved):
    """torch's own message is one of many lines, and no error of ours."""
    with pytest.raises(CheckpointError, match=r"another shape \(3, 5\) of 'first\.weight'.*wanted \(6, 5\)\."):
        load(saved[1], width=6)


def test_missing_weights_are_named(saved, tmp_path):
    state = {name: values for name, values in saved[0].state_dict().items() if name != "first.bias"}
    write_tensors(tmp_path / "part.safetensors", state, {})
    with pytest.raises(CheckpointError, match=r"part\.safetensors has no 'first\.bias'"):
        load(tmp_path / "part.safetensors")


def test_damaged_and_missing_files_are_named(saved, tmp_path):
    content = saved[1].read_bytes()
    saved[1].write_bytes(content[:-20])
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read"):
        load(saved[1])
    with pytest.raises(CheckpointError, match=r"none\.safetensors cannot be read"):
        load(tmp_path / "none.safetensors")
