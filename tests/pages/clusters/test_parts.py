"""Parts of the Clusters page that draw nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.clusters import alternatives_stats, coloring, map_panel, mask_selection, selection_panel
from app.clusters.alternatives import alternatives_of
from app.clusters.cluster_stats import read_cluster_stats
from app.clusters.overlap_matrix import describe, matrix
from app.clusters.summary import as_html, summarize
from app.run_view import decision_view, read_run_view
from maskdistill.clustering.alternatives import AlternativeKey, make_alternatives
from maskdistill.errors import ConfigError
from maskdistill.review import decisions
from maskdistill.review.decisions import Action, Mark, Scope


@pytest.fixture
def found(finished_run):
    return read_run_view(finished_run)


@pytest.fixture
def done(found):
    return decision_view(found)


def rows_in(found, cluster):
    return np.flatnonzero((found.frame["cluster"] == cluster) & (found.frame["vector"] >= 0))


def reject(run, row, scope=Scope.CLUSTERS):
    frame = read_run_view(run).frame
    box = tuple(frame.loc[row, list("xywh")].astype(int))
    mark = Mark(int(frame["mask_id"][row]), frame["image_id"][row], box, Action.REJECT)
    decisions.decide(run, "tess", [mark], scope=scope)


def test_stats_hold_every_cluster_as_it_is(found, done):
    lines = read_cluster_stats(found, done).rows
    assert [line.cluster for line in lines] == [1, 2, 3]
    for line in lines:
        rows = rows_in(found, line.cluster)
        assert line.size == len(rows)
        assert set(line.exemplars) <= set(found.frame["mask_id"].to_numpy()[rows])
        assert 0 < line.tightness <= 1
        counts = np.bincount(found.frame["truth"].to_numpy()[rows])
        assert line.purity == pytest.approx(counts.max() / len(rows))


def test_distances_are_to_the_centres_of_now(finished_run, found, done):
    stats, table = read_cluster_stats(found, done), finished_run.clusters()
    rows = found.row_of_vector
    centres = [np.asarray(found.vectors)[table["cluster"] == number].mean(axis=0) for number in (1, 2, 3)]
    wanted = np.linalg.norm(np.asarray(found.vectors) - np.array(centres)[table["cluster"] - 1], axis=1)
    assert np.allclose(stats.distance[rows], wanted, atol=1e-4)
    outside = np.setdiff1d(np.arange(found.table.num_masks), rows)
    assert np.isnan(stats.distance[outside]).all()


def test_rejected_masks_leave_and_excluded_ones_stay(editable_run):
    run_view = read_run_view(editable_run)
    row = rows_in(run_view, 1)[0]
    reject(editable_run, row)
    decisions.exclude(editable_run, "tess", 2, True)
    decisions_now = decision_view(read_run_view(editable_run))
    member = mask_selection.clusters_of_masks(run_view, decisions_now)
    assert member[row] == 0
    assert (member[rows_in(run_view, 2)] == 2).all()
    lines = {line.cluster: line for line in read_cluster_stats(run_view, decisions_now).rows}
    assert lines[2].excluded
    assert lines[1].size == len(rows_in(run_view, 1)) - 1


def test_classes_are_read_anew_for_what_changes_them_and_not_for_labels(editable_run):
    def now():
        return decision_view(read_run_view(editable_run))

    before, row = now(), 0
    reject(editable_run, row, Scope.LABELS)
    labelled = now()
    assert (labelled.version, labelled.effective.decision[row]) == (1, -1)
    assert labelled.classes is before.classes
    decisions.merge(editable_run, "tess", [1, 2])
    assert set(now().classes.assigned) == {1, 3}
    reject(editable_run, row)
    assert now().cluster[row] == 0
    decisions.undo(editable_run, "tess", scope=Scope.CLUSTERS)
    decisions.undo(editable_run, "tess", scope=Scope.CLUSTERS)
    np.testing.assert_array_equal(now().classes.assigned, before.classes.assigned)


@pytest.mark.parametrize("order", ["centre", "border", "belief"])
def test_sorting_puts_the_least_first_and_what_is_unknown_last(found, done, order):
    stats, rows = read_cluster_stats(found, done), np.arange(found.table.num_masks)
    sorted_rows = selection_panel.sort_rows(order, found, stats, rows)
    belief = np.where(found.frame["candidate"], found.frame["score"], found.frame["quality"])
    values = {"centre": stats.distance, "border": stats.margin, "belief": belief}[order][sorted_rows]
    known = values[~np.isnan(values)]
    assert (np.diff(known) >= 0).all()
    assert np.isnan(values[len(known) :]).all()
    assert sorted(sorted_rows) == rows.tolist()


def test_random_order_stays_the_same(found, done):
    rows = np.arange(9)
    one, other = (
        selection_panel.sort_rows("random", found, read_cluster_stats(found, done), rows).tolist() for _ in range(2)
    )
    assert one == other != rows.tolist()


def test_summary_against_counts_by_hand(found, done):
    rows = np.concatenate([rows_in(found, 1), rows_in(found, 2)[:1]])
    stats = summarize(found, done, rows)
    assert stats.num_masks == len(rows)
    assert stats.num_photos == len(set(found.frame["image"].to_numpy()[rows]))
    assert stats.shares[0].cluster == 1
    assert stats.shares[0].selected == pytest.approx((len(rows) - 1) / len(rows))
    assert stats.num_clusters == 2
    measures = {item.name: item for item in stats.measures}
    assert measures["Proposal"].selected == f"{found.frame['quality'].to_numpy()[rows].mean():.2f}"
    assert "<script" not in as_html(stats, lambda number: "<script>")


@pytest.mark.parametrize("mode", ["cluster", "score", "kept", "decision", "truth"])
def test_every_point_has_a_colour(found, done, mode):
    points = mask_selection.selection_data(found, done).maps["pca"]
    made = coloring.coloring(mode, found, done, points)
    assert made.codes.shape == (len(points.rows),)
    assert made.codes.max() < len(made.palette) <= 256
    for entry in made.legend:
        assert entry.count == (made.codes == entry.code).sum()
        picked = mask_selection.resolve(entry.selection, mask_selection.selection_data(found, done)).rows
        assert set(points.rows[made.codes == entry.code]) <= set(picked)


def test_alternatives_can_be_colored_and_compared(editable_run):
    make_alternatives(editable_run, [AlternativeKey(3, 0), AlternativeKey(5, 0)])
    run_view = read_run_view(editable_run)
    done, trials = decision_view(run_view), alternatives_of(run_view)
    assert list(coloring.modes(run_view).values())[-2:] == ["Alternative: 3 clusters", "Alternative: 5 clusters"]
    now = alternatives_stats.current_stats(run_view, done)
    beside = [alternatives_stats.alternative_stats(run_view, done, trial) for trial in trials.values()]
    assert beside[0].comparison.agreement == pytest.approx(1)
    assert alternatives_stats.colors_of(beside[0]) == alternatives_stats.colors_of(now)
    assert len(set(alternatives_stats.colors_of(beside[1]).values())) == 5
    groups = alternatives_stats.groups_of(now, beside, done, str)
    assert [group.column for group in groups].count(0) == 3
    assert {group.column for group in groups} == {0, 1, 2}
    assert groups[1].note.startswith("100%")
    assert not groups[1].pale
    assert describe(beside[0].comparison, done).startswith("3 of 3 ")
    assert "5" in describe(beside[1].comparison, done) or beside[1].comparison.splits()
    assert np.asarray(matrix(beside[1].comparison, done).data[0]["z"]).shape == (3, 5)
    points = mask_selection.selection_data(run_view, done).maps["pca"]
    assert len(coloring.coloring("k5-s0", run_view, done, points).legend) == 5


def test_deleted_alternative_is_colored_as_the_clusters_are(found, done):
    points = mask_selection.selection_data(found, done).maps["pca"]
    wanted, made = (coloring.coloring(mode, found, done, points) for mode in ("cluster", "k9-s0"))
    np.testing.assert_array_equal(made.codes, wanted.codes)


def test_note_beside_the_pointer_describes_the_mask_under_it(found, done):
    points = mask_selection.selection_data(found, done).maps["pca"]
    (known,) = map_panel._describe(found, done, points, [2])
    mask_id = int(found.frame["mask_id"].iat[points.rows[2]])
    assert known.point == 2
    assert known.title == f"Mask {mask_id}"
    assert known.lines[0] == found.frame["image_id"].iat[points.rows[2]]
    assert known.src.startswith("data:image/jpeg")


def test_long_selection_is_kept_in_the_run(editable_run, monkeypatch):
    run_view = read_run_view(editable_run)
    done, kept = decision_view(run_view), {}
    monkeypatch.setattr(mask_selection, "LONGEST", 8)
    monkeypatch.setattr(mask_selection.selection, "select", lambda **fields: kept.update(fields))
    ids = run_view.frame["mask_id"].to_numpy()[:5]
    mask_selection.select_masks(run_view, done, f"ids:{','.join(map(str, ids))}")
    assert kept["picked"].startswith("view:")
    assert np.array_equal(
        mask_selection.resolve(kept["picked"], mask_selection.selection_data(run_view, done)).rows, np.arange(5)
    )
    with pytest.raises(ConfigError, match="not kept in this run"):
        mask_selection.resolve("view:0000", mask_selection.selection_data(run_view, done))


def test_one_session_deletes_alternatives_while_others_read_them(editable_run):
    make_alternatives(editable_run, [AlternativeKey(2, 0), AlternativeKey(3, 0)])
    run_view, path = read_run_view(editable_run), editable_run.path / "trials" / "k2-s0.npz"
    content, is_over = path.read_bytes(), threading.Event()

    def delete_and_make():
        for _ in range(1000):
            path.unlink()
            path.with_suffix(".new").write_bytes(content)
            path.with_suffix(".new").replace(path)
        is_over.set()

    def read():
        names = set()
        while not is_over.is_set():
            names.add(tuple(alternatives_of(run_view)))
        return names

    with ThreadPoolExecutor(3) as sessions:
        readers = [sessions.submit(read) for _ in range(2)]
        sessions.submit(delete_and_make).result()
    for reader in readers:
        assert reader.result() <= {("k2-s0", "k3-s0"), ("k3-s0",)}


def test_two_sessions_share_what_is_read_of_a_run_and_of_its_decisions(editable_run):
    run_view = read_run_view(editable_run)
    reject(editable_run, rows_in(run_view, 1)[0])
    together = threading.Barrier(2)

    def session():
        together.wait()
        return read_cluster_stats(run_view, decision_view(run_view))

    with ThreadPoolExecutor(2) as sessions:
        one, other = (asked.result() for asked in [sessions.submit(session) for _ in range(2)])
    assert one is other
    assert one.rows[0].size == len(rows_in(run_view, 1)) - 1
