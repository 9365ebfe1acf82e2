"""What ``status`` says of the masks."""

import shutil

import pytest
from six_photos import interrupt_after, picture

from maskdistill.cli.status import describe_run
from maskdistill.datasets import open_source
from maskdistill.errors import RunError
from maskdistill.storage.run_folder import Run


class TestStatus:
    def test_folder_without_a_run(self, tmp_path):
        with pytest.raises(RunError, match="No run in"):
            describe_run(Run(tmp_path))

    @pytest.fixture
    def line(self, tmp_path):
        """The state of the proposals, as ``describe_run`` has it."""

        def line():
            lines = describe_run(Run(tmp_path / "run")).splitlines()
            return next(" ".join(line.split()) for line in lines if line.startswith("proposals "))

        return line

    def test_done(self, start, photos, line, tmp_path):
        masks = start().num_masks
        assert line() == f"proposals done: {masks} masks of 6 photos"
        assert str(photos) in describe_run(Run(tmp_path / "run"))

    def test_stopped(self, start, line, monkeypatch):
        interrupt_after(monkeypatch, 3)
        with pytest.raises(KeyboardInterrupt):
            start()
        assert "proposals not finished (stopped: Stopped; start again" in line()

    def test_stale_after_a_changed_setting(self, start, config, line, monkeypatch):
        start()
        interrupt_after(monkeypatch, 1)
        with pytest.raises(KeyboardInterrupt):
            start(config=config.with_overrides(["proposals.tau=0.1"]))
        assert "proposals stale: proposals.tau was changed; " in line()

    def test_stale_after_switching_the_crf_on(self, start, config, line, monkeypatch):
        pytest.importorskip("pydensecrf")
        start()
        interrupt_after(monkeypatch, 1)
        with pytest.raises(KeyboardInterrupt):
            start(config=config.with_overrides(["crf.enabled=true"]))
        assert "proposals stale: crf.enabled was changed" in line()

    def test_stale_after_a_changed_photo(self, start, photos, line):
        start()
        picture(17, (40, 40)).save(photos / "0.png")
        assert "stale: photos were added, removed or changed" in line()

    def test_photos_that_are_gone(self, start, photos, line):
        start()
        shutil.rmtree(photos)
        assert "stale: the photos cannot be found (No file or folder" in line()

    def test_part_of_the_photos_is_no_reason_to_be_stale(self, start, photos, line):
        start(source=open_source(photos).limited(3))
        assert "proposals done: " in line()
