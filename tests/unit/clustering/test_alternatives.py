"""Other clusterings of a small finished run."""

import json
import shutil

import numpy as np
import pytest

from maskdistill.cli import main
from maskdistill.clustering.alternatives import (
    AlternativeKey,
    delete_alternative,
    list_alternatives,
    make_alternatives,
    make_curve,
    read_curve,
)
from maskdistill.errors import ConfigError, RunError
from maskdistill.files import write_json
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run, without the models."""
    source = finished[0].path
    skipped = shutil.ignore_patterns("stage1", "stage2", "predictions", "thumbs", "pseudo_labels")
    return Run(shutil.copytree(source, tmp_path / "run", ignore=skipped))


def test_same_number_and_seed_gives_the_runs_own_clusters(run):
    info = run.info()["config"]
    (alternative,) = make_alternatives(run, [AlternativeKey(info["clusters"]["num_classes"], info["seed"])])
    assert np.array_equal(alternative.cluster, run.clusters()["cluster"])
    assert alternative.stability == pytest.approx(read_json(run.path / "clusters.json")["agreement"])


def test_alternatives_are_kept_and_listed_in_order(run):
    steps = []
    made = make_alternatives(run, [AlternativeKey(4, 1), AlternativeKey(2, 0)], lambda *step: steps.append(step))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert [alternative.key.name for alternative in made] == ["k4-s1", "k2-s0"]
    listed = list_alternatives(run)
    assert [alternative.key.name for alternative in listed] == ["k2-s0", "k4-s1"]
    for alternative in listed:
        assert set(alternative.cluster) == set(range(1, alternative.key.num_classes + 1))
        assert len(alternative.cluster) == len(run.clusters())
    again = make_alternatives(run, [AlternativeKey(2, 0)])
    assert again[0].made == listed[0].made


def test_alternative_of_earlier_clusters_does_not_count(run):
    make_alternatives(run, [AlternativeKey(2, 0)])
    path = run.stage_path("clusters")
    write_json(path, {**read_json(path), "fingerprint": "another"})
    assert list_alternatives(run) == []
    made = make_alternatives(run, [AlternativeKey(2, 0)])
    assert len(list_alternatives(run)) == 1 == len(made)


def test_alternative_is_deleted(run):
    make_alternatives(run, [AlternativeKey(2, 0)])
    delete_alternative(run, AlternativeKey(2, 0))
    delete_alternative(run, AlternativeKey(2, 0))
    assert list_alternatives(run) == []


def test_run_is_left_as_it_is(run):
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    make_alternatives(run, [AlternativeKey(2, 0)])
    after = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    assert {path.parent.name for path in after.keys() - before.keys()} == {"trials"}
    assert all(after[path] == content for path, content in before.items())


@pytest.mark.parametrize("key", [AlternativeKey(1, 0), AlternativeKey(255, 0), AlternativeKey(3, -1)])
def test_refuses_what_cannot_be(run, key):
    with pytest.raises(ConfigError, match="got"):
        make_alternatives(run, [key])


def test_refuses_more_classes_than_masks(run):
    with pytest.raises(ConfigError, match="cannot make 200 clusters"):
        make_alternatives(run, [AlternativeKey(200, 0)])


def test_asks_for_clusters_first(tmp_path):
    with pytest.raises(RunError, match=r"clusters\.parquet"):
        make_alternatives(Run(tmp_path), [AlternativeKey(2, 0)])


def test_refuses_vectors_of_other_masks(run):
    table = run.clusters()
    table.iloc[:-1].to_parquet(run.clusters_path, index=False)
    with pytest.raises(RunError, match=r"000011\.npz is damaged .*maskdistill embed"):
        make_alternatives(run, [AlternativeKey(2, 0)])


def test_curve_is_kept_for_these_clusters_only(run, monkeypatch):
    assert read_curve(run) is None
    curve = make_curve(run)
    assert read_curve(run) == curve
    assert curve.plateau[0] <= curve.suggested <= curve.plateau[1]
    path = run.stage_path("clusters")
    write_json(path, {**read_json(path), "fingerprint": "another"})
    assert read_curve(run) is None


def test_curve_of_the_stage_is_found(run):
    curve = make_curve(run)
    path = run.path / "clusters.json"
    values = json.loads((run.path / "trials" / "curve.json").read_text())["curve"]
    write_json(path, {**read_json(path), "num_classes_curve": values})
    shutil.rmtree(run.path / "trials")
    assert read_curve(run) == curve


def test_command_says_how_they_agree(run, capsys):
    assert main.main(["try", "--run", str(run.path), "--num-classes", "2", "3", "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2 classes, seed 0: stability")
    assert lines[1].endswith("agreement with the run's own clusters 1.00")


def test_command_makes_the_curve(run, capsys):
    assert main.main(["try", "--run", str(run.path), "--curve", "--quiet"]) == 0
    assert "are suggested" in capsys.readouterr().out


def test_command_wants_one_of_both(run, capsys):
    with pytest.raises(SystemExit):
        main.main(["try", "--run", str(run.path)])
    assert "required" in capsys.readouterr().err
    assert main.main(["try", "--run", str(run.path), "--num-classes", "1", "--quiet"]) == 2
