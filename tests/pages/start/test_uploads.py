import io
from dataclasses import dataclass

import pytest
from PIL import Image

from app import uploads


@dataclass
class Dropped:
    name: str
    content: bytes

    @property
    def size(self):
        return len(self.content)

    def getvalue(self):
        return self.content


def png(colour="red"):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_keeps_pictures_and_names_what_it_refuses(tmp_path):
    kept = uploads.keep_uploads([Dropped("a.png", png()), Dropped("b.pdf", b"%PDF"), Dropped("c.png", b"")], tmp_path)
    assert kept.num_kept == 1
    assert [name for name, _ in kept.refused] == ["b.pdf", "c.png"]
    assert "empty" in kept.refused[1][1]
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("name", ["../../evil.png", "..\\evil.png", "/etc/evil.png", ".evil.png"])
def test_a_name_never_leaves_the_folder(tmp_path, name):
    uploads.keep_uploads([Dropped(name, png())], tmp_path / "in")
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["evil.png"]
    assert list(tmp_path.iterdir()) == [tmp_path / "in"]


def test_same_name_twice_keeps_both(tmp_path):
    uploads.keep_uploads([Dropped("a.png", png("red")), Dropped("a.png", png("blue"))], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-2.png", "a.png"]


def test_picture_with_another_suffix_gets_one_that_is_found_again(tmp_path):
    uploads.keep_uploads([Dropped("photo.old", png())], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.old.jpg"]


def test_limits_of_number_and_size_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_FILES", 2)
    kept = uploads.keep_uploads([Dropped(f"{number}.png", png()) for number in range(3)], tmp_path)
    assert kept.num_kept == 2
    assert " 2 " in kept.refused[0][1]
    monkeypatch.setattr(uploads, "MAX_FILES", 9)
    monkeypatch.setattr(uploads, "MAX_TOTAL_MB", 0)
    assert "0 MB in all" in uploads.keep_uploads([Dropped("x.png", png())], tmp_path).refused[0][1]
    monkeypatch.setattr(uploads, "MAX_FILE_MB", 0)
    assert "0 MB a file" in uploads.keep_uploads([Dropped("x.png", png())], tmp_path).refused[0][1]


def test_pixels_are_checked_from_the_header(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_PIXELS", 40)
    kept = uploads.keep_uploads([Dropped("a.png", png())], tmp_path)
    assert kept.num_kept == 0
    assert "8 x 6" in kept.refused[0][1]
    assert list(tmp_path.iterdir()) == []
