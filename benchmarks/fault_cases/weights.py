"""Files of weights: damaged, of other models, of other programs, and with numbers that are none."""

import collections
import pickle
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file

from benchmarks.fault_cases.attempt import Attempt, Make, WrongError
from maskdistill.config import FeatureConfig
from maskdistill.features.backbone import load_backbone

State = dict[str, torch.Tensor]


def state() -> State:
    """Sound weights of the tiny transformer."""
    from tiny_vit import vit_two_blocks_patch4_32  # on the path of a worker alone

    generator = torch.Generator().manual_seed(0)
    model = vit_two_blocks_patch4_32(dynamic_img_size=True)
    return {name: torch.randn(value.shape, generator=generator) * 0.2 for name, value in model.state_dict().items()}


def _attempt(path: Path, what: str, wrapped: bool = False) -> Attempt:
    config = FeatureConfig(
        backbone=str(path), architecture="vit_two_blocks_patch4_32", precision="float32", device="cpu", shorter_side=32
    )

    def act() -> Literal["read", "noted"]:
        model = load_backbone(config).model
        if not all(value.isfinite().all() for value in model.state_dict().values()):
            raise WrongError("weights that are no numbers are used")
        return "read"

    return Attempt(act, (path.name,), what, must_be_read=wrapped)


class _Evil:
    def __reduce__(self) -> tuple:
        return (eval, ("open('evil', 'w').close()",))


def saved_by_torch(rng: random.Random, folder: Path) -> Attempt:
    """What ``torch.save`` can be given."""
    sound, path = state(), folder / rng.choice(("weights.pth", "weights.pt"))
    name = rng.choice(list(sound))
    loop: dict[str, Any] = {}
    loop["model"] = loop
    kinds: dict[str, Callable[[], Any]] = {
        "list": lambda: list(sound.values()), "tensor": lambda: sound[name], "number": lambda: 3,
        "none": lambda: None, "loop": lambda: loop, "empty": dict,
        "number keys": lambda: dict(enumerate(sound.values())),
        "ordered": lambda: collections.OrderedDict(sound),
        "nan": lambda: sound | {name: sound[name] * float("nan")}, "inf": lambda: sound | {name: sound[name] / 0},
        "sparse": lambda: sound | {name: sound[name].to_sparse()},
        "integers": lambda: {key: value.int() for key, value in sound.items()},
        "complex": lambda: sound | {name: sound[name].to(torch.complex64)},
        "meta": lambda: sound | {name: sound[name].to("meta")},
        "quantised": lambda: sound | {name: torch.quantize_per_tensor(sound[name], 0.1, 0, torch.qint8)},
        "bool": lambda: sound | {name: sound[name] > 0},
        "half": lambda: {key: value.half() for key, value in sound.items()},
        "bfloat": lambda: {key: value.bfloat16() for key, value in sound.items()},
        "double": lambda: {key: value.double() for key, value in sound.items()},
        "one gone": lambda: {key: value for key, value in sound.items() if key != name},
        "one flat": lambda: sound | {name: sound[name].flatten()},
        "one empty": lambda: sound | {name: sound[name][:0]}, "texts": lambda: dict.fromkeys(sound, "x"),
        "one text": lambda: sound | {name: "x"}, "nested none": lambda: {"model": None},
        "deep": lambda: _deep(sound, 50), "module": lambda: torch.nn.Linear(2, 2),
        "code": _Evil, "code inside": lambda: {"model": sound, "options": _Evil()},
        "loop inside": lambda: sound | {"self": loop},
        "huge view": lambda: sound | {name: torch.zeros(1).expand(10**9)},
        "nested": lambda: sound | {name: {"a": sound[name]}},
    }  # fmt: skip
    kind = rng.choice(list(kinds))
    try:
        torch.save(kinds[kind](), path)
    except (TypeError, AttributeError, NotImplementedError, RuntimeError):  # torch itself refuses to write it
        path.write_bytes(b"")
    return _attempt(path, f"torch.save: {kind} ({name})")


def _deep(value: Any, levels: int) -> Any:
    for _ in range(levels):
        value = {"model": value}
    return value


def wrapped(rng: random.Random, folder: Path) -> Attempt:
    """Sound weights as training programs wrap them."""
    sound, path = state(), folder / "weights.pth"
    prefix = rng.choice(("module.", "backbone.", "teacher.backbone.", "module.encoder_q.", "student.", ""))
    key = rng.choice(("teacher", "state_dict", "model", "student"))
    torch.save({key: {f"{prefix}{name}": value for name, value in sound.items()}, "epoch": 3}, path)
    return _attempt(path, f"under {key!r}, {prefix!r} before every name", wrapped=True)


def damaged(rng: random.Random, folder: Path) -> Attempt:
    """Files that are cut, changed, of another kind, or none."""
    path = folder / rng.choice(("weights.pth", "weights.safetensors", "weights.pt"))
    if path.suffix == ".safetensors":
        save_file(state(), path)
    else:
        torch.save(state(), path, _use_new_zipfile_serialization=rng.random() < 0.7)
    content = path.read_bytes()
    kind = rng.choice(
        (
            "cut",
            "bytes",
            "empty",
            "noise",
            "html",
            "pointer",
            "pickle",
            "other suffix",
            "zeros",
            "folder",
            "gone",
            "loop",
        )
    )
    if kind == "bytes":
        changed = bytearray(content)
        for _ in range(rng.randrange(1, 50)):
            changed[rng.randrange(min(len(changed), rng.choice((200, 10**6))))] = rng.randrange(256)
        path.write_bytes(bytes(changed))
    elif kind in ("folder", "gone", "loop", "other suffix"):
        path.unlink()
        if kind == "folder":
            path.mkdir()
        elif kind == "loop":
            path.symlink_to(path.name)
        elif kind == "other suffix":
            path = path.with_suffix(".pth" if path.suffix == ".safetensors" else ".safetensors")
            path.write_bytes(content)
    else:
        path.write_bytes(
            {
                "cut": content[: rng.randrange(len(content))], "empty": b"", "noise": rng.randbytes(500),
                "html": b"<!DOCTYPE html>", "zeros": bytes(5000),
                "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
                "pickle": pickle.dumps({"a": [1, 2]}, rng.randrange(6)),
            }[kind]
        )  # fmt: skip
    return _attempt(path, f"{kind} {path.suffix}")


def headers(rng: random.Random, folder: Path) -> Attempt:
    """Headers of safetensors that lie."""
    path = folder / "weights.safetensors"
    header = rng.choice(
        (
            b"{}", b"[]", b"", b"nul", b'{"a": 1}',
            b'{"a": {"dtype": "F32", "shape": [1e9], "data_offsets": [0, 4]}}', b'{"__metadata__": {"a": 1}}',
            b'{"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}',
            b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 400]}}',
            b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [4, 0]}}', b"\xff\xfe", b"[" * 3000,
            b'{"a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}',
        )
    )  # fmt: skip
    length = rng.choice((len(header), len(header), 0, 2**63, 2**64 - 1, 10**9, len(header) - 1))
    path.write_bytes(struct.pack("<Q", max(0, length)) + header + bytes(4))
    return _attempt(path, f"header {header[:40]!r} of {length}")


VARIETIES: dict[str, Make] = {
    "saved by torch": saved_by_torch,
    "wrapped by training": wrapped,
    "damaged": damaged,
    "lying headers": headers,
}
