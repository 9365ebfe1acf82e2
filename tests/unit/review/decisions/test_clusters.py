import numpy as np
import pytest
from decisions_data import CLUSTERS, IDS, by_mask, cluster_anew, make_run, mark

from maskdistill.errors import ConfigError, RunError
from maskdistill.review.decisions import (
    Scope,
    adopt,
    class_digest,
    decide,
    effective,
    exclude,
    gather,
    history,
    merge,
    read_classes,
    read_marks,
    read_names,
    redo,
    rename,
    split,
    steps,
    undo,
)
from maskdistill.storage.run_folder import write_table

BEFORE = dict(zip(IDS, CLUSTERS, strict=True))


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def take_back(run, reviewer="ann"):
    return undo(run, reviewer, scope=Scope.CLUSTERS)


def changed(run):
    """Where masks are now, of those that are not where the clustering put them."""
    return {mask_id: cluster for mask_id, cluster in by_mask(read_classes(run)).items() if cluster != BEFORE[mask_id]}


def test_without_changes_classes_are_the_clusters(run):
    classes = read_classes(run)
    assert by_mask(classes) == BEFORE
    np.testing.assert_array_equal(classes.assigned, classes.cluster)
    assert (classes.names, classes.excluded, classes.num_classes) == ({}, frozenset(), 4)
    assert (classes.num_edits, classes.dormant, classes.digest, class_digest(run)) == (0, 0, "", "")
    assert classes.name_of(3) == "cluster 3"
    assert classes.rejected.tolist() == []


def test_without_clusters_there_is_nothing_to_change(run):
    run.clusters_path.unlink()
    for change in (read_classes, lambda run: merge(run, "ann", [1, 2]), lambda run: rename(run, "ann", 1, "x")):
        with pytest.raises(RunError, match=r"No clusters\.parquet .*: maskdistill cluster"):
            change(run)


class TestMerge:
    def test_all_go_to_the_lowest_number_and_the_others_stay_empty(self, run):
        merge(run, "ann", [3, 1])
        assert changed(run) == {20: 1, 21: 1}
        assert read_classes(run).num_classes == 4
        take_back(run)
        assert changed(run) == {}
        redo(run, "ann", scope=Scope.CLUSTERS)
        assert changed(run) == {20: 1, 21: 1}

    def test_names_and_exclusions_go_along(self, run):
        rename(run, "ann", 3, "sheep")
        rename(run, "ann", 4, "goat")
        exclude(run, "ann", 2, True)
        merge(run, "ann", [4, 3, 2])
        classes = read_classes(run)
        assert (classes.names, classes.excluded) == ({2: "sheep"}, frozenset())
        take_back(run)
        classes = read_classes(run)
        assert (classes.names, classes.excluded) == ({3: "sheep", 4: "goat"}, {2})
        for number in (3, 4):
            exclude(run, "ann", number, True)
        merge(run, "ann", [4, 3])
        assert read_classes(run).excluded == {2, 3}

    @pytest.mark.parametrize(
        ("which", "match"),
        [([1], r"at least 2 different clusters, got \[1\]"), ([2, 2], "at least 2"), ([1, 7], "There is no cluster 7")],
    )
    def test_that_means_nothing_is_refused(self, run, which, match):
        with pytest.raises(ConfigError, match=match):
            merge(run, "ann", which)

    def test_a_freed_number_is_no_cluster(self, run):
        merge(run, "ann", [1, 3])
        with pytest.raises(ConfigError, match=r"There is no cluster 3\. There are: 1, 2, 4\."):
            rename(run, "ann", 3, "sheep")


class TestSplit:
    def test_the_largest_part_keeps_the_number(self, run):
        split(run, "ann", 1, [[0], [10, 22]])  # mask 1 is in no part
        assert changed(run) == {0: 5}
        assert read_classes(run).num_classes == 5
        split(run, "ann", 2, [[2], [11, 12], [32]])
        assert changed(run) == {0: 5, 2: 6, 32: 7}
        take_back(run)
        assert changed(run) == {0: 5}
        assert read_classes(run).num_classes == 5

    @pytest.mark.parametrize(
        ("cluster", "parts", "match"),
        [
            (1, [[0, 1], []], "at least 2 parts that hold a mask, got 1"),
            (1, [[0, 1], [1]], "one part of cluster 1 only"),
            (7, [[0], [1]], "There is no cluster 7"),
            (1, [[0], [5]], "There is no mask 5 in a cluster"),
        ],
    )
    def test_that_means_nothing_is_refused(self, run, cluster, parts, match):
        with pytest.raises(ConfigError, match=match):
            split(run, "ann", cluster, parts)

    def test_a_mask_that_has_left_meanwhile_stays_away(self, run):
        merge(run, "bob", [1, 2])
        split(run, "ann", 1, [[0, 1, 10, 22], [2, 11]])
        undo(run, "bob", scope=Scope.CLUSTERS)
        assert changed(run) == {}

    def test_no_number_is_given_twice_while_somebody_may_do_theirs_again(self, run):
        split(run, "ann", 1, [[0, 1], [10]])
        take_back(run)
        split(run, "bob", 2, [[2, 11], [12]])
        redo(run, "ann", scope=Scope.CLUSTERS)
        assert changed(run) == {10: 5, 12: 6}

    def test_a_number_that_nobody_can_do_again_is_free(self, run):
        for _ in range(3):
            split(run, "ann", 1, [[0, 1], [10]])
            take_back(run)
        split(run, "ann", 2, [[2, 11], [12]])
        assert changed(run) == {12: 5}

    def test_there_is_an_end_to_the_numbers(self, run):
        cluster_anew(run, "wide", [1, 254, *CLUSTERS[2:]])
        with pytest.raises(ConfigError, match="There can be 254 clusters, got one of number 255. Merge others first"):
            split(run, "ann", 2, [[2], [11]])


class TestGather:
    def test_makes_one_cluster_of_masks_of_several(self, run):
        gather(run, "ann", np.array([20, 0, 2, 0]), "  my\nsheep ")
        assert changed(run) == {0: 5, 2: 5, 20: 5}
        classes = read_classes(run)
        assert (classes.num_classes, classes.names) == (5, {5: "my sheep"})
        gather(run, "bob", [0, 30])
        assert changed(run) == {0: 6, 2: 5, 20: 5, 30: 6}
        take_back(run)
        assert changed(run) == {0: 6, 30: 6}
        assert read_names(run) == {}
        assert [step.text for step in steps(run)] == [
            "Made cluster 6 of 2 masks.",
            "Made cluster 5 'my sheep' of 3 masks.",
        ]

    def test_takes_along_what_people_put_elsewhere_one_by_one(self, run):
        decide(run, "ann", [mark(0, "relabel", 2), mark(1, "relabel", 2), mark(2)], scope=Scope.CLUSTERS)
        gather(run, "bob", [0, 2])
        assert changed(run) == {0: 5, 1: 2, 2: 0}  # what is rejected stays so
        assert read_classes(run).assigned[:3].tolist() == [5, 2, 5]
        decide(run, "ann", [mark(0, "relabel", 3)], scope=Scope.CLUSTERS)
        assert changed(run) == {0: 3, 1: 2, 2: 0}
        decide(run, "ann", [mark(0, "relabel", 5)], scope=Scope.LABELS)  # the new number may be given

    def test_is_in_the_history_of_its_masks(self, run):
        gather(run, "ann", [0, 20])
        rename(run, "ann", 5, "sheep")
        split(run, "ann", 5, [[0], [20]])
        texts = ["Split cluster 5 into clusters 5 and 6.", "Named cluster 5 'sheep'.", "Made cluster 5 of 2 masks."]
        assert [event.text for event in history(run, 20)] == texts
        assert history(run, 1) == []

    @pytest.mark.parametrize(
        ("mask_ids", "match"), [([], "at least one mask, got none"), ([0, 5], "no mask 5 in a cl")]
    )
    def test_that_means_nothing_is_refused(self, run, mask_ids, match):
        with pytest.raises(ConfigError, match=match):
            gather(run, "ann", mask_ids)


class TestRenameAndExclude:
    def test_a_name_is_one_line_and_changes_no_class(self, run):
        rename(run, "ann", 2, "  red\nsheep ")
        classes = read_classes(run)
        assert classes.names == read_names(run) == {2: "red sheep"}
        assert (classes.name_of(2), classes.name_of(1)) == ("red sheep", "cluster 1")
        assert classes.digest == ""
        rename(run, "bob", 2, "")
        assert read_names(run) == {}

    def test_excluded_masks_are_in_no_class(self, run):
        exclude(run, "ann", 3, True)
        assert changed(run) == {20: 0, 21: 0}
        classes = read_classes(run)
        assert classes.assigned.tolist() == CLUSTERS
        assert classes.excluded == {3}
        assert classes.rejected.tolist() == []
        assert classes.digest
        exclude(run, "bob", 3, False)
        assert (changed(run), read_classes(run).digest) == ({}, "")

    def test_digest_tells_effects_apart_and_not_ways(self, run):
        exclude(run, "ann", 3, True)
        first = class_digest(run)
        rename(run, "ann", 3, "sheep")
        assert class_digest(run) == first
        exclude(run, "ann", 4, True)
        assert class_digest(run) not in ("", first)
        take_back(run)
        take_back(run)
        take_back(run)
        assert class_digest(run) == ""
        decide(run, "ann", [mark(20), mark(21)], scope=Scope.CLUSTERS)
        assert class_digest(run) == first


class TestMarks:
    def test_count_in_the_classes_from_their_scope_on(self, run):
        decide(run, "ann", [mark(0), mark(2, "relabel", 3), mark(10, "accept")], scope=Scope.CLUSTERS)
        decide(run, "ann", [mark(1)], scope=Scope.LABELS)
        assert changed(run) == {0: 0, 2: 3}
        classes = read_classes(run)
        assert classes.rejected.tolist() == [0]
        assert classes.assigned[:3].tolist() == [1, 1, 3]
        assert classes.num_edits == 1

    def test_go_with_the_clusters_that_they_name(self, run):
        """In the order of time: relabelled, split, merged; and all of it the other way round."""
        decide(run, "ann", [mark(0, "relabel", 2), mark(1, "relabel", 2)], scope=Scope.CLUSTERS)
        split(run, "bob", 2, [[2, 11, 12, 32, 1], [0]])  # what people put into it is in its parts
        assert changed(run) == {0: 5, 1: 2}
        merge(run, "bob", [3, 5])
        assert changed(run) == {0: 3, 1: 2}
        undo(run, "bob", scope=Scope.CLUSTERS)
        undo(run, "bob", scope=Scope.CLUSTERS)
        assert changed(run) == {0: 2, 1: 2}
        take_back(run)
        assert changed(run) == {}

    def test_a_number_that_was_merged_away_meanwhile_means_the_cluster_it_went_to(self, run):
        merge(run, "bob", [1, 3])
        decide(run, "ann", [mark(2, "relabel", 3)], scope=Scope.CLUSTERS)
        assert changed(run) == {2: 1, 20: 1, 21: 1}
        assert read_marks(run)["cluster"].tolist() == [1]

    def test_a_class_of_the_labels_that_was_excluded_rejects(self, run):
        decide(run, "ann", [mark(0, "relabel", 3), mark(1, "relabel", 2)], scope=Scope.LABELS)
        exclude(run, "bob", 3, True)
        assert [str(action) for action in read_marks(run)["action"]] == ["reject", "relabel"]
        assert read_marks(run)["cluster"].tolist() == [0, 2]
        undo(run, "bob", scope=Scope.CLUSTERS)
        assert read_marks(run)["cluster"].tolist() == [3, 2]

    def test_of_masks_that_were_made_anew_wait(self, run):
        decide(run, "ann", [mark(0), mark(20)], scope=Scope.CLUSTERS)
        write_table(run.masks_path, run.masks().query("mask_id > 12"))  # the clusters are of older masks now
        assert changed(run) == {20: 0}


class TestAdopt:
    def test_replaces_all_before_it_until_undone(self, run):
        rename(run, "ann", 1, "sheep")
        exclude(run, "ann", 3, True)
        decide(run, "ann", [mark(0, "relabel", 2), mark(1)], scope=Scope.CLUSTERS)
        before = changed(run)
        adopt(run, "ann", IDS, [1, 1, 1, 1, 2, 2, 2, 2, 5, 5, 5, 5], 5, seed=3)
        classes = read_classes(run)
        assert by_mask(classes) == dict(zip(IDS, [1, 0, 1, 1, 2, 2, 2, 2, 5, 5, 5, 5], strict=True))  # 1 is rejected
        assert (classes.names, classes.excluded, classes.num_classes, classes.dormant) == ({}, frozenset(), 5, 0)
        assert read_marks(run)["dormant"].tolist() == [True, False]
        take_back(run)
        assert changed(run) == before == {0: 2, 1: 0, 20: 0, 21: 0}
        assert read_names(run) == {1: "sheep"}

    def test_changes_after_it_are_about_it(self, run):
        adopt(run, "ann", IDS, [1, 2] * 6, 2, seed=0)
        merge(run, "bob", [1, 2])
        split(run, "bob", 1, [IDS[:8], IDS[8:]])
        assert set(by_mask(read_classes(run)).values()) == {1, 3}
        take_back(run)
        assert changed(run) == {}
        assert undo(run, "bob", scope=Scope.CLUSTERS) is None  # nothing of bob's is in force
        redo(run, "ann", scope=Scope.CLUSTERS)
        assert set(by_mask(read_classes(run)).values()) == {1, 3}

    def test_one_after_the_other(self, run):
        adopt(run, "ann", IDS, [1, 2] * 6, 2, seed=0)
        adopt(run, "ann", IDS, [1, 2, 3] * 4, 3, seed=0)
        assert read_classes(run).num_classes == 3
        take_back(run)
        assert read_classes(run).num_classes == 2
        with pytest.raises(ConfigError, match=r"clusters 1 to 2, got \[3\]"):
            decide(run, "ann", [mark(0, "relabel", 3)], scope=Scope.LABELS)

    @pytest.mark.parametrize(
        ("ids", "clusters", "match"),
        [
            (IDS[1:], [1] * 11, "is of 11 masks, others than the 12 of"),
            (IDS, [1] * 11 + [3], "needs one number from 1 to 2 for each of 12 masks"),
            (IDS, [0] + [1] * 11, "needs one number from 1 to 2"),
            (IDS, [1] * 11, "needs one number"),
            ([], [], "needs one number"),
        ],
    )
    def test_that_does_not_fit_is_refused(self, run, ids, clusters, match):
        with pytest.raises(ConfigError, match=match):
            adopt(run, "ann", ids, clusters, 2, seed=0)


class TestAnotherClustering:
    def test_changes_are_dormant_until_theirs_comes_back(self, run):
        rename(run, "ann", 1, "sheep")
        merge(run, "ann", [3, 4])
        decide(run, "ann", [mark(0, "relabel", 2)], scope=Scope.CLUSTERS)
        decide(run, "ann", [mark(2)], scope=Scope.CLUSTERS)
        found = by_mask(read_classes(run))
        cluster_anew(run, "second", [2, 2, 1, 2, 1, 1, 3, 3, 2, 3, 3, 1])
        classes = read_classes(run)
        assert (classes.dormant, classes.names, classes.num_edits) == (3, {}, 1)
        assert by_mask(classes) == {**dict(zip(IDS, run.clusters()["cluster"], strict=True)), 2: 0}
        assert [step.undone for step in steps(run)] == [False] * 4
        cluster_anew(run, "first")
        assert by_mask(read_classes(run)) == found
        assert read_classes(run).dormant == 0

    def test_a_dormant_change_is_not_undone_unseen(self, run):
        merge(run, "ann", [3, 4])
        cluster_anew(run, "second")
        assert take_back(run) is None
        rename(run, "ann", 1, "sheep")
        assert take_back(run).text == "Named cluster 1 'sheep'."
        cluster_anew(run, "first")
        assert changed(run) == {30: 3, 31: 3}

    def test_a_class_given_for_the_labels_is_dormant_too(self, run):
        decide(run, "ann", [mark(0)], scope=Scope.LABELS)
        decide(run, "bob", [mark(0, "relabel", 2), mark(1)], scope=Scope.LABELS)
        cluster_anew(run, "second")
        frame = read_marks(run)[["mask_id", "image_id", "x", "y", "w", "h"]].drop_duplicates()
        assert effective(read_marks(run), frame).decision.tolist() == [0, -1]
        cluster_anew(run, "first")
        assert effective(read_marks(run), frame).decision.tolist() == [1, -1]
