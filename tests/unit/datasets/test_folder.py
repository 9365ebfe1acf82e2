import pytest
from PIL import Image

from maskdistill.datasets import open_source
from maskdistill.datasets.scanning import natural_key, unique_ids
from maskdistill.errors import ConfigError, DatasetError


def save(path, size=(8, 6), color="red"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)
    return path


def ids(source):
    return [photo.id for photo in source.photos]


def test_searches_in_depth_in_natural_order_without_hidden_files(tmp_path):
    for name in ("img10.jpg", "img2.JPG", "Sub2/b.png", "sub10/a.webp", ".hidden/x.jpg", ".x.jpg"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no photo")
    source = open_source(tmp_path)
    assert source.kind == "folder"
    assert ids(source) == ["img2", "img10", "Sub2/b", "sub10/a"]
    assert (source.photos[0].height, source.photos[0].width) == (6, 8)
    assert source.skipped == ()


def test_natural_key_is_stable_for_equal_numbers():
    names = ["a/10.jpg", "a/02.jpg", "a/2.jpg", "A/1.jpg"]
    assert sorted(names, key=natural_key) == ["A/1.jpg", "a/02.jpg", "a/2.jpg", "a/10.jpg"]


def test_suffix_stays_where_names_differ_by_it_only():
    names = ["a.jpg", "a.png", "a.jpg.png", "b.jpg", "c.x.jpg"]
    assert unique_ids(names) == ["a.jpg", "a.png", "a.jpg.png", "b", "c.x"]


def test_moved_folder_keeps_ids_and_fingerprint(tmp_path):
    save(tmp_path / "old" / "x" / "a.jpg")
    save(tmp_path / "old" / "b.png")
    before = open_source(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    after = open_source(tmp_path / "new")
    assert ids(before) == ids(after)
    assert before.fingerprint == after.fingerprint
    save(tmp_path / "new" / "b.png", color="blue")
    assert open_source(tmp_path / "new").fingerprint != before.fingerprint


def test_bad_files_are_skipped_with_a_reason(tmp_path):
    save(tmp_path / "good.jpg")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    source = open_source(tmp_path)
    assert ids(source) == ["good"]
    reasons = {item.path.name: item.reason for item in source.skipped}
    assert "empty" in reasons["empty.jpg"]
    assert "not a JPEG" in reasons["text.png"]
    assert "link leads nowhere" in reasons["gone.jpg"]


def test_link_loop_ends(tmp_path):
    save(tmp_path / "sub" / "a.jpg")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    assert ids(open_source(tmp_path)) == ["sub/a"]


def test_reports_progress(tmp_path):
    for number in range(5):
        save(tmp_path / f"{number}.png")
    calls = []
    open_source(tmp_path, on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(number, 5) for number in range(1, 6)]


def test_single_picture(tmp_path):
    path = save(tmp_path / "a.jpg")
    source = open_source(str(path))
    assert ids(source) == ["a"]
    assert source.spec == str(path)


def test_single_file_that_is_no_picture(tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    with pytest.raises(DatasetError, match=r"Cannot use .*a\.pdf\. It is a PDF"):
        open_source(tmp_path / "a.pdf")


def test_folder_without_picture(tmp_path):
    with pytest.raises(DatasetError, match="no files at all"):
        open_source(tmp_path)
    (tmp_path / "a.gif").touch()
    with pytest.raises(DatasetError, match=r"It holds 1 \.gif\..*save it as PNG"):
        open_source(tmp_path)


def test_folder_with_bad_pictures_only(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b.jpg").touch()
    with pytest.raises(DatasetError, match="None of the 2 pictures.*a.jpg: The file is empty"):
        open_source(tmp_path)


def test_absent_path(tmp_path):
    with pytest.raises(DatasetError, match="No file or folder .*nowhere"):
        open_source(tmp_path / "nowhere")


def test_limits_are_nested_and_keep_the_order(tmp_path):
    for number in range(9):
        save(tmp_path / f"{number}.png")
    source = open_source(tmp_path)
    four, six = ids(source.limited(4)), ids(source.limited(6))
    assert len(four) == 4
    assert set(four) < set(six)
    assert six == sorted(six)
    assert source.limited(99) is source
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        source.limited(0)


def test_what_a_browser_puts_behind_the_dot_is_no_suffix(tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "from the web.jpg_large", format="JPEG")
    (tmp_path / "notes.txt_old").write_text("no picture")
    assert [photo.path.name for photo in open_source(tmp_path).photos] == ["from the web.jpg_large"]
