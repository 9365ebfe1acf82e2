import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from tiny_run import tiny_config

from maskdistill.errors import ConfigError, RunError
from maskdistill.exports import onnx_model
from maskdistill.exports.onnx_model import EXAMPLE_TEXT, PatchNetwork, check_model, export_onnx, torch_logits
from maskdistill.features.backbone import load_backbone
from maskdistill.models.patch_head import PatchHead, PatchHeadPredictor
from maskdistill.models.predictor import load_model
from maskdistill.storage.run_folder import Run

DOCUMENT = Path(__file__).parents[3] / "docs" / "onnx.md"
SIZES = ((64, 56), (37, 91), (300, 40), (32, 32), (20, 400))  # height, width; the last two are at limits of the grid

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    """The final model of a whole run on drawn photos, as ONNX."""
    run = Run(finished[0].path)
    out = tmp_path_factory.mktemp("onnx") / "out"
    said = export_onnx(run, out, class_names=["disc", "square", "stripes"])
    return run, out, said


def test_file_labels_photos_of_the_run_as_its_model_does(exported):
    run, out, _ = exported
    session = onnxruntime.InferenceSession(out / "model.onnx")
    model = load_model(run, object_prior=False)
    same = []
    for photo in onnx_model.photos_of(run):
        pixels = np.asarray(onnx_model.read_photo(photo))
        (labels,) = session.run(["labels"], {"photo": pixels})
        assert labels.dtype == np.uint8
        assert labels.shape == pixels.shape[:2]
        same.append((labels == model.probabilities(photo).argmax(axis=0)).mean())
    assert np.mean(same) > 0.98  # Pillow rounds pixels, and the run keeps tokens in half precision


def test_file_says_what_it_is(exported):
    _, out, said = exported
    about = {item.key: item.value for item in onnx.load(out / "model.onnx").metadata_props}
    assert json.loads(about["class_names"]) == ["background", "disc", "square", "stripes"]
    assert json.loads(about["palette"])[:2] == ["#000000", "#800000"]
    check = json.loads(about["check"])
    assert check["photos"] == onnx_model.NUM_CHECKED
    assert 0 <= check["largest_difference"] <= onnx_model.TOLERANCE
    assert "local file" in about["weights"]
    assert f"{check['largest_difference']:.1e}" in said
    assert (out / "label_photo.py").read_text() == EXAMPLE_TEXT


WITHOUT_TORCH = """
import sys
sys.modules.update({"torch": None, "maskdistill": None})  # importing them fails
exec(open("label_photo.py").read())
"""


def test_example_runs_where_there_is_no_torch(exported, tmp_path):
    run, out, _ = exported
    for name in ("model.onnx", "label_photo.py"):
        (tmp_path / name).write_bytes((out / name).read_bytes())
    photo = onnx_model.photos_of(run)[0]
    command = [sys.executable, "-c", WITHOUT_TORCH, photo.path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120)
    labels = np.asarray(Image.open(tmp_path / "labels.png"))
    assert labels.shape == (photo.height, photo.width)
    wanted = load_model(run, object_prior=False).probabilities(photo).argmax(axis=0)
    assert (labels == wanted).mean() > 0.98
    assert "background" in done.stdout


@pytest.mark.parametrize("fit", ["resize", "pad"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_any_size_gives_what_torch_gives(tmp_path, fit, smoothing):
    config = tiny_config(tmp_path)
    features = replace(config.features, fit=fit)
    backbone = load_backbone(features)
    training = replace(config.stage1, smoothing=smoothing)
    head = PatchHead(3, 2 * backbone.model.embed_dim, training, seed=1)
    network = PatchNetwork(backbone, (1, 2), PatchHeadPredictor(head, training, onnx_model._no_tokens), training).eval()
    reading = onnx_model._reading_of(backbone, features)
    traced = onnx_model._trace(network, len(reading.bias))
    session = onnx_model._open(onnx_model.photo_graph(traced, reading, 3).SerializeToString())
    for size in SIZES:
        pixels = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
        labels, logits = session.run(["labels", "logits"], {"photo": pixels})
        wanted = torch_logits(network, backbone, features, pixels)
        np.testing.assert_allclose(logits, wanted, atol=2e-5)
        np.testing.assert_array_equal(labels, logits.argmax(axis=0))


def test_wrong_logits_are_refused_and_nothing_is_written(finished, tmp_path, monkeypatch):
    class Wrong:
        def __init__(self, session):
            self.session = session

        def run(self, names, inputs):
            labels, logits = self.session.run(names, inputs)
            return [labels, logits + 2e-4]

    right = onnx_model._open
    monkeypatch.setattr(onnx_model, "_open", lambda content: Wrong(right(content)))
    with pytest.raises(RunError, match=r"differ from torch's by 2\.\de-04"):
        export_onnx(Run(finished[0].path), tmp_path / "out")
    assert not (tmp_path / "out" / "model.onnx").exists()


def test_no_photo_to_check_with_is_an_error():
    with pytest.raises(RunError, match="No photo could be read"):
        check_model(None, None, None, None, [])


def test_other_networks_and_missing_packages_are_refused(finished, tmp_path, monkeypatch):
    run = Run(finished[0].path)
    config = run.config()
    monkeypatch.setattr(Run, "config", lambda self: replace(config, stage2=replace(config.stage2, model="deeplabv3")))
    with pytest.raises(ConfigError, match="deeplabv3; only a patch_head"):
        export_onnx(run, tmp_path / "out")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"onnxscript.*maskdistill\[onnx\]"):
        export_onnx(run, tmp_path / "out")


def test_document_holds_the_example():
    assert f"```py\n{EXAMPLE_TEXT}```" in DOCUMENT.read_text(encoding="utf-8")
    assert len(EXAMPLE_TEXT.splitlines()) <= 12
