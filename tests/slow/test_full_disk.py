"""A disk that becomes full in the middle of every stage, and of what people decide: one sentence, nothing lost, and
with some space the same as on a disk that never was full.
"""

import random
import shutil

import pytest
from decisions_data import make_run, mark
from disks import fill, free, small_disk
from tiny_run import assert_same_artifacts, draw_voc, run_chain, tiny_config

from maskdistill.cli.main import main
from maskdistill.errors import RunError
from maskdistill.review.decisions import Scope, claim, decide, read_marks, rename, undo, version
from maskdistill.stages.stage_list import BY_NAME, OF_EVERY_RUN
from maskdistill.storage.run_folder import Run
from maskdistill.storage.saved_views import save_view, views

pytestmark = pytest.mark.slow

SEEDS = range(3)
LABELS = Scope.LABELS
# Folders and files that a stage fills besides those by which it counts as done.
MORE = {
    "proposals": ("masks.parquet", "images.parquet", "proposals.json", "thumbs", "parts"),
    "embeddings": ("features",),
    "stage1": ("stage1",),
    "pseudo_labels": ("pseudo_labels",),
    "stage2": ("stage2",),
    "predictions": ("predictions",),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run with every stage, on a disk with space; its photos and weights beside it."""
    folder = tmp_path_factory.mktemp("whole")
    run = Run(folder / "run")
    run_chain(run.path, draw_voc(folder / "voc"), tiny_config(folder), wanted=OF_EVERY_RUN)
    return run


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", 16) as folder:
        yield folder


def unmake(run, stage):
    """Take out what a stage made, as before it began; returns how many bytes that was."""
    run.stage_path(stage).unlink()
    size = 0
    for name in sorted({*BY_NAME[stage].artifacts, *MORE.get(stage, ())}, reverse=True):  # files before their folder
        path = run.path / name
        size += sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return size


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("stage", OF_EVERY_RUN)
def test_stage_ends_in_a_sentence_and_goes_on_with_space(whole, disk, stage, seed, capsys):
    run = Run(shutil.copytree(whole.path, disk / "run"))
    size = unmake(run, stage)
    command = ["run", "--run", str(run.path), "--quiet", "--workers", "1"]
    fill(disk, leave=int(size * random.Random(f"{stage} {seed}").random()) if seed else 0)
    assert main(command) == 1
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert len([line for line in said.err.splitlines() if line.startswith("maskdistill:")]) == 1
    assert "is full (" in said.err
    assert not run.stage_path(stage).exists()
    free(disk)
    assert main(command) == 0
    assert_same_artifacts(run, whole)
    assert list(run.path.rglob("*.tmp")) == []


def act_until_full(run, told):
    """Decide, undo, rename and keep views until the disk is full; every act that returned is told."""
    for number in range(100_000):
        told.append((decide(run, "ann", [mark(0)], scope=LABELS, note=f"{number} {'x' * 500}"), "decide"))
        told.append((undo(run, "ann", scope=LABELS).id, "undo"))
        told.append((rename(run, "ann", 1, f"name {number}"), "rename"))
        save_view(run, "selection", f"view {number}", ["x" * 500])
        told.append((number, "view"))
        claim(run, "ann", [number], 60)


def test_what_people_decide_is_told_as_not_stored_and_all_before_stays(disk):
    run = make_run(disk / "run")
    decide(run, "bob", [mark(1)], scope=LABELS)
    fill(disk, leave=300_000)
    told = []
    with pytest.raises(RunError, match="full"):
        act_until_full(run, told)
    assert told
    fill(disk)
    for again in range(3):  # a page that tries again, and others that read meanwhile
        with pytest.raises(RunError, match="full"):
            decide(run, "ann", [mark(2)], scope=LABELS, note=f"again {again}")
        assert read_marks(run)["reviewer"].tolist()[0] == "bob"
    free(disk)
    steps = {step for step, kind in told if kind in ("decide", "rename")}
    before = version(run)
    assert max(steps) <= before
    assert {view.name for view in views(run, "selection")} == {
        f"view {number}" for number, kind in told if kind == "view"
    }
    new = decide(run, "ann", [mark(2)], scope=LABELS)
    assert new == before + 1
    assert set(read_marks(run).query("reviewer == 'ann'")["mask_id"]) >= {2}
    undo(run, "ann", scope=LABELS)
    assert version(run) == new + 1
