"""Three photos, and stages that do nothing but note what they are asked."""

import pytest
from PIL import Image


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (16, 12), (number * 80, 50, 50)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def stages(monkeypatch):
    """Stages that note their arguments, say what is in ``said``, and do nothing but leave run.json."""

    def run_stages(run, data, config, *, preset, wanted, options, on_stage):
        calls.append({"run": run, "data": data, "config": config, "preset": preset, "wanted": wanted, "how": options})
        backbone = {"name": "focus_vits14", "reason": "chosen by name", "weights": "Offline."}
        run.write_info({"data": data, "config": config.to_dict(), "preset": preset, "backbone": backbone})
        for name, sentence in calls.said.items():
            on_stage(name, sentence)

    class Calls(list):
        def __init__(self):
            self.said = {"proposals": "4 masks of 3 photos."}

    calls = Calls()
    monkeypatch.setattr("maskdistill.cli.stages.run_stages", run_stages)
    return calls
