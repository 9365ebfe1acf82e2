import numpy as np
import pytest

from maskdistill.errors import RunError
from maskdistill.storage.photo_arrays import ArrayStore
from maskdistill.storage.read_files import DamagedFileError
from maskdistill.storage.token_store import TOKEN_AXES, TokenAxes, TokenStore, as_stored


def tokens(seed=0, shape=(6, 7, 12)):
    """Of which all but a little lies in the first three dimensions, around 5."""
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    values[..., 3:] *= 0.01
    return values + 5


@pytest.fixture
def axes():
    return TokenAxes.of_sample(tokens(1, (2000, 12)), np.full(12, 5, np.float32), np.eye(12, 3, dtype=np.float32))


@pytest.fixture
def store(tmp_path, axes):
    """Of compact tokens, with those of one photo in it."""
    axes.save(tmp_path / TOKEN_AXES)
    store = TokenStore(tmp_path)
    store.write(4, tokens())
    return store


def test_without_axes_tokens_are_kept_in_16_bits(tmp_path):
    TokenStore(tmp_path).write(4, tokens())
    found = TokenStore(tmp_path).read(4)
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, tokens().astype(np.float16))


def test_compact_tokens_take_a_byte_an_axis_and_lose_what_lies_off_the_axes(store):
    assert np.load(store.path(4)).shape == (6, 7, 3)
    assert np.load(store.path(4)).dtype == np.uint8
    found = TokenStore(store.folder).read(4)
    assert found.dtype == np.float16
    inside = np.abs(tokens()[..., :3] - 5).max(axis=-1) < 2  # few lie beyond the ends of the sample
    step = np.load(store.folder / TOKEN_AXES)["step"].max()
    assert np.abs(found[..., :3] - tokens()[..., :3])[inside].max() <= step / 2 + 4e-3
    np.testing.assert_array_equal(found[..., 3:], 5)


def test_what_lies_beyond_the_sample_stays_at_its_end(store, axes):
    far = tokens()
    far[0, 0, :3] = (100, -100, 5)
    store.write(5, far)
    found = store.read(5)[0, 0]
    np.testing.assert_allclose(found[:2], [5 + axes.low[0] + 255 * axes.step[0], 5 + axes.low[1]], atol=4e-3)


def test_a_photo_of_elsewhere_has_the_tokens_that_the_run_would_have_stored(store, axes):
    np.testing.assert_array_equal(as_stored(tokens(), axes), store.read(4))
    np.testing.assert_array_equal(as_stored(store.read(4), axes), store.read(4))
    np.testing.assert_array_equal(as_stored(tokens(), None), tokens().astype(np.float16))


@pytest.mark.parametrize("compact", [True, False])
def test_some_patches_are_those_of_the_whole(tmp_path, axes, compact):
    if compact:
        axes.save(tmp_path / TOKEN_AXES)
    store = TokenStore(tmp_path)
    store.write(4, tokens())
    chosen = np.array([40, 0, 7])
    np.testing.assert_array_equal(store.read_patches(4, chosen), store.read(4).reshape(-1, 12)[chosen])


def test_lost_axes_are_named(store):
    (store.folder / TOKEN_AXES).unlink()
    with pytest.raises(RunError, match=TOKEN_AXES):
        TokenStore(store.folder).read(4)


def test_tokens_of_other_axes_are_damaged(store):
    ArrayStore(store.folder)._write(4, np.zeros((6, 7, 2), np.uint8))
    with pytest.raises(DamagedFileError, match="3 numbers a patch are wanted, it has 2"):
        store.read(4)


@pytest.mark.parametrize(
    "change",
    [
        {"axes": np.ones(3, np.float32)},
        {"mean": np.ones(3, np.float32)},
        {"step": np.ones(4, np.float32)},
        {"low": np.full(3, np.nan, np.float32)},
        {"step": None},
    ],
)
def test_damaged_axes_are_refused(tmp_path, axes, change):
    arrays = {name: values for name, values in (vars(axes) | change).items() if values is not None}
    np.savez(tmp_path / TOKEN_AXES, **arrays)
    with pytest.raises(DamagedFileError, match=TOKEN_AXES):
        TokenAxes.load(tmp_path / TOKEN_AXES)
