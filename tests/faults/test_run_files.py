"""A run with a damaged file: it is read, or refused by name; a run mends it; what people decided is never lost."""

import ast
import logging
import re
import shutil
from pathlib import Path

import pytest
from database_damage import DATABASE
from file_damage import LATER
from run_damage import damages, files_of, make_run
from tiny_run import redone, run_chain

from app.run_view import decision_view, read_run_view
from maskdistill.cli.main import main
from maskdistill.cli.status import describe_run
from maskdistill.clustering.alternatives import list_alternatives, read_curve
from maskdistill.errors import MaskDistillError, RunError
from maskdistill.evaluation.photo_metrics import read_photo_results
from maskdistill.evaluation.run_label_maps import LabelMaps
from maskdistill.files import write_json
from maskdistill.jobs import list_jobs
from maskdistill.review.decisions import read_classes, read_marks, version
from maskdistill.stages.stage_list import OF_EVERY_RUN
from maskdistill.stages.status import stage_states
from maskdistill.storage.read_files import DamagedFileError, read_json
from maskdistill.storage.run_folder import Run, list_runs
from maskdistill.storage.saved_views import views

WITHOUT_MAP = tuple(name for name in OF_EVERY_RUN if name != "projection")
UNEXPECTED = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("damaged"), projection=False)


@pytest.fixture
def copy(whole, tmp_path):
    return Run(shutil.copytree(whole.path, tmp_path / "runs" / "copy"))


def read_view(run):
    found = read_run_view(run)
    return found.codes, found.drawn, decision_view(found)


def read_maps(run):
    maps = LabelMaps(run)
    return [maps.read(kind, number) for kind in maps.kinds for number in range(maps.num_photos)]


READERS = (
    *(describe_run, read_view, read_maps, read_photo_results, list_alternatives, read_curve),
    *(lambda run: views(run, "selection"), lambda run: list_jobs(run.path)),
)


def unexpected(damage, run):
    """What comes of a damage that is neither well nor an error of ours."""
    damage.do(run.path)
    found = []
    for place, read in enumerate(READERS):
        try:
            read(run)
        except MaskDistillError as error:
            if Path(damage.file).name not in str(error) and Path(damage.file).parts[0] not in str(error):
                found.append(f"{damage.name}, reader {place}: does not name it: {error}")
        except UNEXPECTED as error:
            found.append(f"{damage.name}, reader {place}: {type(error).__name__}: {error}")
    return found


def check_sample(whole, folder, first, step):
    found = []
    for damage in list(damages(whole.path))[first::step]:
        shutil.rmtree(folder, ignore_errors=True)
        found += unexpected(damage, Run(shutil.copytree(whole.path, folder)))
    assert found == []


def test_every_kind_of_file_is_damaged_under_a_name_of_its_own(whole):
    found = list(damages(whole.path))
    names = [damage.name for damage in found]
    assert len(set(names)) == len(names) > 9000
    assert set(files_of(whole.path)) <= {damage.file for damage in found}


def test_damage_is_harmless_or_told(whole, tmp_path):
    check_sample(whole, tmp_path / "runs" / "copy", 11, 2500)


@pytest.mark.parametrize(
    "name",
    [
        "classes.parquet: is candidates.parquet",  # a table without the columns that it must have
        "images.parquet: no columns",
        "images.parquet: is kept.parquet",
        "kept.parquet: no columns",
        "masks.parquet: is photo_changes.parquet",
        "classes.parquet: rows turned around",  # rows are found by their rising ids
        "clusters.parquet: rows turned around",
        "images.parquet: height is too large once",
        "embeddings.npy: no rows",
        "progress.json: holds [[[[[[[[[[[[",
        "progress.json: stage is [None]",
        "progress.json: pid is 0.5",
        "stage1/config.json: holds NaN",
        'stage2/config.json: holds "text"',
        "stages/clusters.json: a pipe",
        "trials/curve.json: without curve.values",
        "trials/curve.json: curve.plateau is []",
        "trials/k2-s0.npz: numbers of texts",
        "trials/k2-s0.npz: cluster of texts",
    ],
)
def test_damage_of_this_kind_is_harmless_or_told(whole, copy, name):
    assert unexpected(find(whole, name), copy) == []


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 40, 8))
def test_much_damage_is_harmless_or_told(whole, tmp_path, first):
    check_sample(whole, tmp_path / "runs" / "copy", first, 40)


def go_on(whole, run):
    return run_chain(run.path, whole.info()["data"], whole.config(), wanted=WITHOUT_MAP)


def decided(run):
    return version(run), read_marks(run).to_dict("list"), read_classes(run).names


def find(run, name):
    return next(damage for damage in damages(run.path) if damage.name == name)


def check_mended(whole, run, damage):
    before = decided(run)
    damage.do(run.path)
    said = go_on(whole, run)
    states = {state.name: state.text for state in stage_states(run) if state.name in WITHOUT_MAP}
    assert {name for name, text in states.items() if not text.startswith("done")} == set(), damage.name
    assert decided(run) == before
    return redone(said)


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("clusters.parquet: cut in half", "clusters"),
        pytest.param("embeddings.npy: fewer rows", "clusters", marks=pytest.mark.slow),
        pytest.param("stage2/model.safetensors: is stage1/model.safetensors", "stage2", marks=pytest.mark.slow),
        pytest.param("kept.parquet: no columns", "filter", marks=pytest.mark.slow),
        ("stages/filter.json: zeros", "filter"),
        ("predictions/stage1/00000/000000.png: cut near the end", "predictions"),
        pytest.param("candidates.parquet: a folder", "candidates", marks=pytest.mark.slow),
        ("masks.parquet: mask_id is the same everywhere", "proposals"),
    ],
)
def test_a_run_makes_anew_what_is_damaged(whole, copy, name, stage, caplog):
    damage = find(whole, name)
    damage.do(copy.path)
    if not name.startswith("predictions"):  # of many label maps, status looks at none
        assert {state.name: state.state for state in stage_states(copy)}[stage] != "done"
    shutil.rmtree(copy.path)
    shutil.copytree(whole.path, copy.path)
    caplog.set_level(logging.ERROR, logger="maskdistill")
    made = check_mended(whole, copy, damage)
    assert made == [stage] or name.startswith("masks")  # the masks come from their parts: the stage says so


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 600, 150))
def test_a_run_mends_damage_of_many_kinds(whole, tmp_path, first):
    for damage in list(damages(whole.path))[first::600]:
        if damage.is_of_decisions or damage.file == "run.json":
            continue
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        check_mended(whole, Run(shutil.copytree(whole.path, tmp_path / "runs" / "copy")), damage)


def test_vectors_of_other_masks_are_made_anew_where_they_are_read(whole, copy):
    """Nothing tells before the clusters are made again."""
    find(whole, next(d.name for d in damages(whole.path) if d.name.endswith(".npz: crop2 fewer rows"))).do(copy.path)
    config = whole.config().with_overrides(["clusters.num_seeds=3"])
    said = run_chain(copy.path, whole.info()["data"], config, wanted=("clusters",))
    assert "clusters" in redone(said)
    assert {state.name: state.state for state in stage_states(copy)}["embeddings"] == "done"


class TestInfo:
    def test_copy_is_put_back_and_the_damaged_one_kept(self, copy, capsys):
        config = copy.config()
        (copy.path / "run.json").write_text('{"format": 1, "da')
        with pytest.raises(DamagedFileError, match=r"run\.json is damaged .*maskdistill run --run"):
            copy.info()
        assert main(["filter", "--run", str(copy.path), "--quiet"]) == 0
        assert copy.config() == config
        assert (copy.path / "run.json.aside").read_text() == '{"format": 1, "da'

    def test_run_of_a_later_version_is_refused_and_left_alone(self, copy, capsys):
        write_json(copy.path / "run.json", {**copy.info(), "format": LATER, "versions": {"maskdistill": "9.1"}})
        before = (copy.path / "run.json").read_bytes()
        for command in (["run"], ["filter"], ["status"]):
            assert main([*command, "--run", str(copy.path)]) == 2
            assert "made by maskdistill 9.1" in capsys.readouterr().err
        assert (copy.path / "run.json").read_bytes() == before

    def test_unknown_fields_of_a_record_are_let_be(self, whole, copy):
        path = copy.stage_path("filter")
        write_json(path, {**read_json(path), "later": 1})
        assert redone(go_on(whole, copy)) == []

    def test_damaged_run_is_listed_with_the_others(self, whole, copy):
        other = Run(shutil.copytree(whole.path, copy.path.with_name("other")))
        find(whole, "run.json: a dangling link").do(copy.path)
        assert {run.name for run in list_runs(other.path.parent)} == {"copy", "other"}


class TestDecisions:
    @pytest.mark.parametrize(
        "kind", ["noise", "cut in half", "without steps", "a folder", "decisions that are no JSON"]
    )
    def test_damaged_database_is_kept_and_the_way_out_is_named(self, whole, copy, kind):
        find(whole, f"{DATABASE}: {kind}").do(copy.path)
        path = copy.path / DATABASE
        before = path.read_bytes() if path.is_file() else b""
        with pytest.raises(RunError, match=r"run\.sqlite .*(recover|put the file back)"):
            describe_run(copy)
        with pytest.raises(RunError, match=r"run\.sqlite"):
            go_on(whole, copy)
        assert (path.read_bytes() if path.is_file() else b"") == before

    def test_database_of_a_later_version_is_left_alone(self, whole, copy):
        find(whole, f"{DATABASE}: of a later version").do(copy.path)
        with pytest.raises(RunError, match=r"newer version .*its run was made by \d"):
            describe_run(copy)


def test_gone_run_is_told(copy):
    shutil.rmtree(copy.path)
    with pytest.raises(RunError, match="No run in"):
        describe_run(copy)


def test_copy_for_quick_access_is_never_trusted_when_it_is_changed(whole, copy):
    """One byte of a box in it is another; the artifact itself is whole."""
    path = copy.path / "proposals.arrow"
    before = [read_view(whole)[0].box(int(mask)) for mask in whole.masks()["mask_id"]]
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 4, len(content) // 2):
        content[place] ^= 1
    path.write_bytes(content)
    assert [read_view(copy)[0].box(int(mask)) for mask in copy.masks()["mask_id"]] == before


def texts_of_errors(path):
    """The literal parts of what a module raises."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise):
            parts = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
            yield " ".join(part for part in parts if isinstance(part, str))


def test_no_error_tells_to_delete_anything():
    """What is damaged may hold the only copy: an error says how to mend it, or to put it elsewhere."""
    modules = [path for folder in ("maskdistill", "app") for path in (ROOT / folder).rglob("*.py")]
    told = {path: [text for text in texts_of_errors(path) if re.search(r"\b[Dd]elete\b", text)] for path in modules}
    assert {path.name: texts for path, texts in told.items() if texts} == {}
