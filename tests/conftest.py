"""Shared by all tests: no other machine, one thread, how many inputs hypothesis draws, a transformer for unit tests."""

import atexit
import os
import runpy
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from tiny_vit import vit_two_blocks_patch4_32

# Nothing here, nor any process started from here, may reach another machine.
LOOPBACK = Path(__file__).parent / "data" / "loopback"
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(LOOPBACK), os.environ.get("PYTHONPATH")]))
ATTEMPTS = Path(tempfile.mkdtemp(prefix="maskdistill-tests-")) / "attempts"
atexit.register(shutil.rmtree, ATTEMPTS.parent, ignore_errors=True)
os.environ["MASKDISTILL_TESTS_SOCKETS"] = str(ATTEMPTS)
runpy.run_path(str(LOOPBACK / "sitecustomize.py"))

torch.set_num_threads(1)
for library in ("OMP", "OPENBLAS", "MKL"):  # read as a process starts: those of pytest-xdist, and what tests start
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that works in the background has it ignored

# The same few inputs every time, so that the suite is quick and no chance fails it; MASKDISTILL_EXAMPLES=1000 draws as
# many others.
EXAMPLES = os.environ.get("MASKDISTILL_EXAMPLES")
settings.register_profile(
    "suite",
    max_examples=int(EXAMPLES or 20),
    derandomize=EXAMPLES is None,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """``main`` takes over signals and what is said of faults; give them back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    hook = sys.excepthook
    yield
    sys.excepthook = hook
    for number, handler in before.items():
        signal.signal(number, handler)


def randomise(model: VisionTransformer, seed: int = 0) -> VisionTransformer:
    """Fill every weight with noise, large enough that a mistake shows; timm starts many of them at 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model.eval().requires_grad_(False)


@pytest.fixture(autouse=True)
def no_other_machine() -> Iterator[Path]:
    """Fails a test during which another machine was asked for; gives the file that says so."""
    ATTEMPTS.unlink(missing_ok=True)
    yield ATTEMPTS
    tried = ATTEMPTS.read_text(encoding="utf-8") if ATTEMPTS.is_file() else ""
    ATTEMPTS.unlink(missing_ok=True)
    assert not tried


@pytest.fixture
def make_vit() -> Callable[..., VisionTransformer]:
    """Builds a 2-block ViT of 4-pixel patches (32 pixels, so 8 x 8 of them) with random weights."""

    def make(**options: object) -> VisionTransformer:
        return randomise(vit_two_blocks_patch4_32(**{"dynamic_img_size": True, **options}))

    return make


@pytest.fixture
def tiny_weights(tmp_path: Path, make_vit: Callable[..., VisionTransformer]) -> dict[str, str]:
    """``FeatureConfig`` values of a local file with random weights of ``vit_two_blocks_patch4_32``."""
    path = tmp_path / "weights" / "tiny.safetensors"
    path.parent.mkdir()
    save_file(make_vit().state_dict(), path)
    return {
        "backbone": str(path),
        "architecture": "vit_two_blocks_patch4_32",
        "precision": "float32",
        "batch_size": 1,
        "device": "cpu",
    }
