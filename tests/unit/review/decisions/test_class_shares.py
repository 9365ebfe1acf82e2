import numpy as np

from maskdistill.review.decisions.class_shares import carry_shares

SHARES = np.array([[1, 0, 0], [0.75, 0.25, 0], [0.25, 0.75, 0], [0, 0.5, 0.5], [0, 0.25, 0.75], [0, 0, 1]], np.float32)
BEFORE = np.array([1, 1, 2, 2, 3, 3])


def carry(moved=BEFORE, cluster=None, chosen=(), excluded=(), num_classes=3):
    return carry_shares(
        SHARES,
        BEFORE,
        np.asarray(moved),
        np.asarray(moved if cluster is None else cluster),
        np.isin(np.arange(len(BEFORE)), list(chosen)),
        np.isin(np.arange(1, num_classes + 1), list(excluded)),
    )


def test_without_changes_they_are_the_very_same():
    found = carry()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, SHARES)


def test_merged_clusters_add_up():
    found = carry(moved=[1, 1, 1, 1, 3, 3])
    np.testing.assert_allclose(found[:, 0], SHARES[:, 0] + SHARES[:, 1])
    np.testing.assert_allclose(found[:, 1], 0)
    np.testing.assert_allclose(found[:, 2], SHARES[:, 2])


def test_excluded_ones_lose_theirs_to_the_others():
    found = carry(cluster=[1, 1, 0, 0, 3, 3], excluded=[2])
    np.testing.assert_allclose(found[[0, 1, 4, 5]], [[1, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]])


def test_mask_whose_other_clusters_are_all_excluded_is_wholly_in_its_own():
    found = carry(moved=[1, 1, 2, 2, 3, 3], cluster=[1, 1, 0, 3, 3, 3], excluded=[2], chosen=[3])
    np.testing.assert_allclose(found[3], [0, 0, 1])


def test_parts_of_a_split_cluster_take_what_their_masks_have_and_share_the_rest():
    found = carry(moved=[1, 4, 2, 2, 3, 3], num_classes=4)
    np.testing.assert_allclose(found[0], [1, 0, 0, 0])
    np.testing.assert_allclose(found[1], [0, 0.25, 0, 0.75])  # its own went with it
    np.testing.assert_allclose(found[2], [0.125, 0.75, 0, 0.125])  # half of cluster 1 is in each part
    np.testing.assert_allclose(found[4:, :3], SHARES[4:])


def test_what_people_said_of_a_mask_is_certain():
    found = carry(cluster=[1, 1, 3, 2, 3, 3], chosen=[2, 3])
    np.testing.assert_array_equal(found[2], [0, 0, 1])
    np.testing.assert_array_equal(found[3], [0, 1, 0])
    np.testing.assert_allclose(found[[0, 1, 4, 5]], SHARES[[0, 1, 4, 5]])


def test_masks_gathered_by_people_do_not_tell_where_a_cluster_went():
    """One mask of cluster 2 is in a class of its own now; what others have in cluster 2 stays there."""
    found = carry(moved=[1, 1, 4, 2, 3, 3], chosen=[2], num_classes=4)
    np.testing.assert_allclose(found[1], [0.75, 0.25, 0, 0])
    np.testing.assert_allclose(found[2], [0, 0, 0, 1])


def test_cluster_of_which_every_mask_was_gathered_is_where_they_are():
    found = carry(moved=[1, 1, 4, 4, 3, 3], chosen=[2, 3], num_classes=4)
    np.testing.assert_allclose(found[4], [0, 0, 0.75, 0.25])


def test_each_row_sums_to_one():
    found = carry(moved=[1, 4, 1, 1, 3, 3], cluster=[1, 4, 1, 1, 3, 2], chosen=[5], excluded=[3], num_classes=4)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
