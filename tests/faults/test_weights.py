"""Files of weights of every wrong kind: each is refused by a sentence that names it, and nothing in it is executed."""

import io
import os
import pickle
import struct
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file
from tiny_vit import vit_two_blocks_patch4_32

from maskdistill.errors import CheckpointError
from maskdistill.features.weight_files import load_weights

POSITIONS, CLASS = "pos_embed", "cls_token"


@pytest.fixture(scope="module")
def model():
    return vit_two_blocks_patch4_32()


@pytest.fixture
def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def holds_itself(_state):
    value = {"epoch": 1}
    value["model"] = value
    return value


def with_tensor(change, name=POSITIONS):
    return lambda state: {**state, name: change(state[name])}


def filled(number):
    def fill(tensor):
        tensor.view(-1)[3] = number
        return tensor

    return fill


VALUES = {
    "holds itself": holds_itself,
    "holds itself in a list": lambda state: {"model": [state]},
    "nested too deep": lambda state: {"model": {"model": {"model": {"model": {"model": {"model": holds_itself(0)}}}}}},
    "a list": lambda state: list(state.values()),
    "a tensor": lambda state: state[POSITIONS],
    "a number": lambda state: 7,
    "numbers as names": lambda state: dict(enumerate(state.values())),
    "nothing": lambda state: {},
    "a sparse tensor": with_tensor(lambda tensor: tensor.to_sparse()),
    "a sparse row": with_tensor(lambda tensor: tensor[0].to_sparse_csr()),
    "no values": with_tensor(lambda tensor: tensor.to("meta")),
    "complex numbers": with_tensor(lambda tensor: tensor.to(torch.complex64)),
    "quantized": with_tensor(lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)),
    "NaN": with_tensor(filled(torch.nan)),
    "infinite": with_tensor(filled(torch.inf), "blocks.1.mlp.fc1.weight"),
    "NaN in half": with_tensor(lambda tensor: filled(torch.nan)(tensor.half()), CLASS),
    "another shape": with_tensor(lambda tensor: tensor[:, :, :7]),
    "one dimension less": with_tensor(lambda tensor: tensor[0, 0]),
    "no dimension": with_tensor(lambda tensor: torch.tensor(1.0)),
    "empty": with_tensor(lambda tensor: tensor[:, :0]),
    "no patch at all": with_tensor(lambda tensor: tensor[:, :0], "patch_embed.proj.weight"),
    "flat patches": with_tensor(lambda tensor: tensor.flatten(), "patch_embed.proj.weight"),
    "of another network": lambda state: {"conv1.weight": torch.zeros(64, 3, 7, 7)},
    "without one": lambda state: {name: value for name, value in state.items() if name != "norm.bias"},
}


@pytest.mark.parametrize("kind", VALUES)
def test_tensors_that_cannot_be_used(model, state, tmp_path, kind):
    path = tmp_path / "odd.pth"
    path.write_bytes(saved(VALUES[kind](state)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"odd\.pth"):
        load_weights(model, path)
    torch.testing.assert_close(model.state_dict(), before)


@pytest.mark.parametrize("name", [CLASS, "norm.weight", "blocks.0.attn.qkv.weight"])
@pytest.mark.parametrize("number", [torch.nan, -torch.inf])
def test_numbers_that_are_not_finite_in_safetensors(model, state, tmp_path, name, number):
    filled(number)(state[name])
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(CheckpointError, match=rf"'{name}' of .*odd\.safetensors"):
        load_weights(model, tmp_path / "odd.safetensors")


def test_numbers_of_a_head_that_is_left_out_do_not_matter(model, state, tmp_path):
    torch.save({**state, "head.weight": torch.full((3, 3), torch.nan)}, tmp_path / "fine.pth")
    load_weights(model, tmp_path / "fine.pth")


PREFIXED = {
    "plain": lambda state: state,
    "model": lambda state: {"model": state, "epoch": 3},
    "twice": lambda state: {"state_dict": {"model": state}},
    "teacher": lambda state: {"student": {}, "teacher": {f"module.backbone.{name}": state[name] for name in state}},
    "compiled": lambda state: {f"_orig_mod.{name}": value for name, value in state.items()},
    "named by numbers too": lambda state: {**state, 3: "three"},
    "float64": lambda state: {name: value.double() for name, value in state.items()},
    "bfloat16": lambda state: {name: value.bfloat16() for name, value in state.items()},
    "parameters": lambda state: {name: torch.nn.Parameter(value) for name, value in state.items()},
}


@pytest.mark.parametrize("kind", PREFIXED)
def test_what_trainings_save_is_read(model, state, tmp_path, kind):
    state = {name: torch.randn_like(value) for name, value in state.items()}
    (tmp_path / "good.pth").write_bytes(saved(PREFIXED[kind](state)))
    load_weights(model, tmp_path / "good.pth")
    torch.testing.assert_close(model.state_dict(), state, rtol=0.01, atol=0.01)


class Bomb:
    """Runs a command when it is read without care."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["odd.pth", "odd.pt", "odd.safetensors"])
@pytest.mark.parametrize("wrap", [saved, pickle.dumps, lambda value: pickle.dumps({"model": value}, protocol=0)])
def test_code_is_not_executed(model, tmp_path, name, wrap):
    (tmp_path / name).write_bytes(wrap(Bomb(tmp_path / "executed")))
    with pytest.raises(CheckpointError, match="odd"):
        load_weights(model, tmp_path / name)
    assert not (tmp_path / "executed").exists()


def long_header(state):
    return struct.pack("<Q", 5 * 2**30) + b"{" + b" " * 1000


def overlapping(state):
    header = b'{"cls_token":{"dtype":"F32","shape":[1,1,32],"data_offsets":[0,99999999999]}}'
    return struct.pack("<Q", len(header)) + header + bytes(128)


def archive(_state):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("weights/readme.txt", "no tensors")
    return file.getvalue()


CONTENTS = {
    "nothing": lambda state: b"",
    "a web page": lambda state: b"\n<!DOCTYPE html><html><body>404</body></html>",
    "a pointer of Git LFS": lambda state: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "compressed": lambda state: b"\x1f\x8b\x08" + bytes(100),
    "noise": lambda state: bytes(range(256)) * 40,
    "JSON": lambda state: b'{"model": [1, 2, 3]}',
    "a header of gigabytes": long_header,
    "offsets beyond the end": overlapping,
    "an archive of something else": archive,
    "safetensors cut short": lambda state: save(state)[:-100],
    "safetensors with half a header": lambda state: save(state)[:60],
    "torch.save cut short": lambda state: saved(state)[: len(saved(state)) // 2],
    "torch.save without its end": lambda state: saved(state)[:-30],
    "a pickle cut short": lambda state: pickle.dumps({"model": {"a": 1}})[:-4],
}


@pytest.mark.parametrize("name", ["odd.pth", "odd.safetensors"])
@pytest.mark.parametrize("kind", CONTENTS)
def test_content_of_another_kind(model, state, tmp_path, name, kind):
    (tmp_path / name).write_bytes(CONTENTS[kind](state))
    with pytest.raises(CheckpointError, match=r"odd\.\w+"):
        load_weights(model, tmp_path / name)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: path.mkdir(), "folder"),
        (os.mkfifo, "no regular file"),
        (lambda path: path.symlink_to(path.with_name("gone.pth")), "No file"),
        (lambda path: path.symlink_to(path), "No file"),
        (lambda path: None, "No file"),
    ],
)
@pytest.mark.parametrize("name", ["odd.pth", "odd.safetensors"])
def test_no_file_at_all(model, tmp_path, make, what, name):
    make(tmp_path / name)
    with pytest.raises(CheckpointError, match=what) as refused:
        load_weights(model, tmp_path / name)
    assert name in str(refused.value)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), suffix=st.sampled_from((".pth", ".safetensors")))
def test_damage_anywhere_is_told_or_leaves_finite_weights(model, tmp_path_factory, data, suffix):
    """A changed byte may only be another number, which no reader can know."""
    state = model.state_dict()
    content = bytearray(saved({"model": state}) if suffix == ".pth" else save(state))
    for _ in range(data.draw(st.integers(1, 4))):
        # Most of a file is numbers: the places that say what they are stand at its ends.
        place = data.draw(st.one_of(st.integers(0, 2000), st.integers(-3000, -1), st.integers(0, len(content) - 1)))
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / f"odd{suffix}"
    path.write_bytes(content)
    other = vit_two_blocks_patch4_32()
    try:
        load_weights(other, path)
    except CheckpointError as error:
        assert "odd" in str(error)
    else:
        assert all(value.isfinite().all() for value in other.state_dict().values())
