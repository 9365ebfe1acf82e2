"""How much disk a run will take: compared with what one took, told, and refused where there is clearly less."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tiny_run import run_chain

from maskdistill.config import FeatureConfig, ProposalConfig, RunConfig, load_preset
from maskdistill.datasets import Photo, PhotoSource, open_source
from maskdistill.errors import RunError
from maskdistill.features.registry import SPECS, choose_backbone
from maskdistill.stages import disk_needs
from maskdistill.stages.chain import Options, run_stages
from maskdistill.stages.disk_needs import DiskNeeds, PhotoNeeds, find_needs, patch_size, require_disk
from maskdistill.stages.stage_list import OF_EVERY_RUN
from maskdistill.storage.photo_arrays import ArrayStore
from maskdistill.storage.run_folder import Run

FOCUS = SPECS["focus_vits14"]


def photos(number, size=(240, 320)):
    return PhotoSource("folder", "d", None, tuple(Photo(str(n), None, *size, "d") for n in range(number)))


DEFAULT = RunConfig()


def needs(config=DEFAULT, number=100, spec=FOCUS, stages=OF_EVERY_RUN, tokens=None, **more):
    return dict(find_needs(photos(number), config, spec, stages, tokens=tokens, **more).parts)


def size_of(folder):
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


def test_tokens_are_those_of_a_finished_run(finished, scene, monkeypatch):
    run, config = finished[0], scene[1]
    monkeypatch.setattr(disk_needs, "_WIDTHS", (("two_blocks", 32),))
    source = open_source(str(scene[0]))
    spec = choose_backbone(config.features.backbone, config.features.architecture).spec
    folders = [path for path in (run.path / "features").iterdir() if (path / "info.json").is_file()]
    (tokens,) = folders
    found = PhotoNeeds(config, spec, disk_needs._mean_patches(source.photos, config, spec))
    store = ArrayStore(tokens)
    took = [-(-store.path(number).stat().st_size // 4096) * 4096 for number in range(len(source.photos))]
    assert found.tokens == pytest.approx(sum(took) / len(took), rel=0.4)
    assert dict(find_needs(source, config, spec, OF_EVERY_RUN, tokens=tokens).parts)["tokens"] == 0
    half = tokens.parent / "empty"
    assert dict(find_needs(source, config, spec, OF_EVERY_RUN, tokens=half).parts)["tokens"] > 0


def test_tokens_by_hand(tmp_path):
    config = RunConfig(features=FeatureConfig(shorter_side=336))
    wanted = 24 * 32 * 384 * 2 * 2  # patches of 14 pixels, numbers of a token, blocks, bytes
    assert needs(config, tokens=tmp_path)["tokens"] / 100 == pytest.approx(wanted, rel=0.01)
    compact = replace(config, features=replace(config.features, tokens="compact"))
    assert needs(compact, tokens=tmp_path)["tokens"] / 100 == pytest.approx(24 * 32 * 128, rel=0.01)
    assert needs(config)["tokens"] == 0, "features.store is off"
    assert needs(config, tokens=tmp_path, stages=("predictions",))["tokens"] == 0


def test_what_is_made_is_not_counted_again(tmp_path):
    parts = tmp_path / "parts"
    parts.mkdir()
    whole = needs(number=640, parts=parts)["masks"]
    for number in range(10):
        (parts / f"{number:06d}.json").write_text("[]")
    assert needs(number=640, parts=parts)["masks"] == pytest.approx(whole / 2)


def test_settings_count():
    base = load_preset("quick")
    assert needs(base)["candidates"] > 0
    assert needs(replace(base, proposals=ProposalConfig(num_objects=1)))["candidates"] == 0
    assert needs(base.with_overrides(["foreground.enabled=false"]))["foreground"] == 0
    assert needs(base.with_overrides(["rounds.count=2"]))["label maps"] > needs(base)["label maps"]
    assert needs(load_preset("paper-voc"))["models"] > needs(base)["models"]


@pytest.mark.parametrize(("name", "size"), [("focus_vits14", 14), ("dino_vits8", 8), ("dinov3_vits16", 16)])
def test_patch_size_by_name(name, size):
    assert patch_size(SPECS[name]) == size


def test_too_little_disk_is_refused_before_anything_is_begun(scene, tmp_path, monkeypatch):
    monkeypatch.setattr(disk_needs, "TOLD_FROM", 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=1e9, used=0, free=1e4))
    run = Run(tmp_path / "run")
    with pytest.raises(RunError, match=r"too little disk for .*Disk: about .* MB more \(.*tokens.*\); 0 MB are free"):
        run_chain(run.path, *scene)
    assert not run.exists
    monkeypatch.undo()
    run_chain(run.path, *scene, wanted=("proposals",))
    monkeypatch.setattr(disk_needs, "TOLD_FROM", 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=1e9, used=0, free=1e4))
    with pytest.raises(RunError, match="vectors"):
        run_chain(run.path, *scene, wanted=("embeddings",))
    run_chain(run.path, *scene, wanted=("proposals",))  # nothing to do wants no disk


def test_sentence_is_told(scene, tmp_path, monkeypatch):
    monkeypatch.setattr(disk_needs, "TOLD_FROM", 0)
    told = []
    options = Options(num_workers=1, quiet=True, on_disk=told.append)
    for _ in range(2):
        run_stages(Run(tmp_path / "run"), str(scene[0]), scene[1], wanted=("proposals",), options=options)
    assert len(told) == 1
    assert told[0].startswith("Disk: about")


def test_small_runs_say_nothing_and_are_never_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=1, used=1, free=0))
    told = []
    require_disk(Run(tmp_path), DiskNeeds((("tokens", 5e7),)), told.append)
    assert told == []
    with pytest.raises(RunError, match=r"about 2.0 TB more \(tokens 2.0 TB\)"):
        require_disk(Run(tmp_path), DiskNeeds((("tokens", 2e12), ("models", 0))), told.append)
