"""The states of a run's stages, for the pages."""

from app import photo_cache, stage_states
from maskdistill.datasets import open_source, scanning, seen_files
from maskdistill.storage.run_folder import Run


def test_photos_that_did_not_change_are_not_read_again(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(seen_files, "_SETTLED_NS", 0)  # else a photo that is seconds old is read again
    seen = tmp_path / "source.parquet"
    monkeypatch.setattr(Run, "seen_path", seen)
    run, read = finished[0], []
    data = run.info()["data"]
    open_source(data, seen=seen).seen.write(seen)
    inspect = scanning.inspect_image
    monkeypatch.setattr(scanning, "inspect_image", lambda *given: read.append(given) or inspect(*given))
    done = {state.name for state in stage_states.stage_states(run) if state.state == "done"}
    assert done >= {"proposals", "stage1"}
    assert read == []
    photo_cache.rescan(data)
    assert len(photo_cache.source(data).photos) == len(read) > 0
