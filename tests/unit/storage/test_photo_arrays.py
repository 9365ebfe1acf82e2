import numpy as np
import pytest

from maskdistill.errors import RunError
from maskdistill.storage.photo_arrays import ArrayStore, VectorStore


def values(seed=0, shape=(3, 4, 5)):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def vectors(count, seed=0):
    return {"cls2": values(seed, (count, 4)), "photo1": values(seed + 50, (count, 6))}


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_array_comes_back_as_it_was_rounded(tmp_path):
    store = ArrayStore(tmp_path)
    store.write(7, values())
    found = store.read(7)
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, values().astype(np.float16))
    np.testing.assert_array_equal(ArrayStore(tmp_path).read(7), found)


def test_array_is_mapped_and_cannot_be_changed(tmp_path):
    store = ArrayStore(tmp_path)
    store.write(0, values())
    assert isinstance(store.read(0), np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        store.read(0)[0] = 1


def test_view_in_another_order(tmp_path):
    store = ArrayStore(tmp_path)
    view = values()[::2, ::-1].transpose(2, 0, 1)
    store.write(1, view)
    np.testing.assert_array_equal(store.read(1), view.astype(np.float16))


@pytest.mark.parametrize(("kind", "suffix"), [(ArrayStore, "npy"), (VectorStore, "npz")])
def test_a_folder_holds_a_thousand_files(tmp_path, kind, suffix):
    store = kind(tmp_path)
    paths = [store.path(number).relative_to(tmp_path).as_posix() for number in (0, 999, 1000, 123_456)]
    names = ["00000/000000", "00000/000999", "00001/001000", "00123/123456"]
    assert paths == [f"{name}.{suffix}" for name in names]
    assert len({store.path(number) for number in range(3000)}) == 3000


def test_missing_are_listed_in_order(tmp_path):
    arrays, several = ArrayStore(tmp_path / "arrays"), VectorStore(tmp_path / "vectors")
    assert arrays.missing([2, 0, 1]) == several.missing([2, 0, 1]) == [2, 0, 1]
    arrays.write(0, values())
    several.write(0, vectors(1))
    assert arrays.missing([2, 0, 1]) == several.missing([2, 0, 1]) == [2, 1]


def test_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    store, several = ArrayStore(tmp_path / "arrays"), VectorStore(tmp_path / "vectors")
    store.write(0, values())
    several.write(0, vectors(2))

    def fail(file, *_args, **_options):
        file.write(b"half a file")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "save", fail)
    monkeypatch.setattr(np, "savez", fail)
    for action in (
        lambda: store.write(0, values(1)),
        lambda: store.write(1, values(1)),
        lambda: several.write(0, vectors(1)),
    ):
        with pytest.raises(OSError, match="No space left"):
            action()
    assert files(tmp_path) == ["arrays/00000/000000.npy", "vectors/00000/000000.npz"]
    np.testing.assert_array_equal(store.read(0), values().astype(np.float16))
    assert len(several.read([0])["cls2"]) == 2


def test_replacing_does_not_change_an_array_that_is_being_read(tmp_path):
    store = ArrayStore(tmp_path)
    store.write(0, values())
    before = store.read(0)
    store.write(0, values(1))
    np.testing.assert_array_equal(before, values().astype(np.float16))
    np.testing.assert_array_equal(store.read(0), values(1).astype(np.float16))


def test_vectors_of_several_photos_in_the_order_asked_for(tmp_path):
    store = VectorStore(tmp_path)
    for number, count in {4: 3, 0: 1, 2: 2}.items():
        store.write(number, vectors(count, seed=number))
    found = store.read([4, 0, 2])
    assert set(found) == {"cls2", "photo1"}
    for name, width in {"cls2": 4, "photo1": 6}.items():
        assert found[name].dtype == np.float32
        assert found[name].shape == (6, width)
        parts = [vectors(count, number)[name] for number, count in [(4, 3), (0, 1), (2, 2)]]
        np.testing.assert_array_equal(found[name], np.concatenate(parts).astype(np.float16))
    assert store.read([]) == {}


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"no array at all", None], ids=["empty", "head", "text", "cut"])
def test_damaged_array_is_named(tmp_path, content):
    store = ArrayStore(tmp_path / "features" / "a1")
    store.write(3, values())
    path = store.path(3)
    path.write_bytes(path.read_bytes()[:-10] if content is None else content)
    with pytest.raises(RunError, match=rf"000003\.npy is damaged \(.*\)\. .*: maskdistill embed --run {tmp_path}"):
        store.read(3)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"no array at all", None], ids=["empty", "head", "text", "cut"]
)
def test_damaged_vectors_are_named(tmp_path, content):
    store = VectorStore(tmp_path / "features" / "masks-a1")
    store.write(3, vectors(2))
    path = store.path(3)
    path.write_bytes(path.read_bytes()[:-10] if content is None else content)
    with pytest.raises(RunError, match=rf"000003\.npz is damaged \(.*\)\. .*: maskdistill embed --run {tmp_path}"):
        store.read([3])


def test_changed_vectors_are_noticed(tmp_path):
    store = VectorStore(tmp_path)
    store.write(0, {"cls1": np.arange(400.0).reshape(20, 20)})
    content = bytearray(store.path(0).read_bytes())
    content[len(content) // 2] ^= 255
    store.path(0).write_bytes(content)
    with pytest.raises(RunError, match=r"000000\.npz is damaged .*CRC"):
        store.read([0])


def test_missing_file_says_which_command_makes_it(tmp_path):
    with pytest.raises(RunError, match=rf"No .*000005\.npy in .*: maskdistill embed --run {tmp_path}"):
        ArrayStore(tmp_path / "features" / "a1").read(5)
    with pytest.raises(RunError, match=rf"No .*000005\.npz in .*: maskdistill embed --run {tmp_path}"):
        VectorStore(tmp_path / "features" / "masks-a1").read([5])
