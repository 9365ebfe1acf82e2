import numpy as np
from tiny_run import CLASSES, draw_voc

from benchmarks.class_subsets import make_subsets, whole_set
from maskdistill.datasets import open_source, read_label


def test_a_subset_lists_the_photos_that_show_nothing_else_and_shares_what_is_made_of_all(tmp_path):
    data = draw_voc(tmp_path / "voc")
    one, other, again = [*make_subsets(data, [2, 2], tmp_path / "a"), *make_subsets(data, [2], tmp_path / "b")]
    assert one.classes == again.classes
    whole, source = open_source(str(data)), open_source(str(one.data))
    assert source.fingerprint == whole.fingerprint  # so masks and vectors of the whole are those of the subset
    assert source.classes == CLASSES
    chosen = {CLASSES.index(name) + 1 for name in one.classes}
    listed = 0
    for photo, before in zip(source.photos, whole.photos, strict=True):
        shown = set(np.unique(read_label(source, photo)).tolist()) - {0}
        assert photo.split == (before.split if shown <= chosen else None)
        listed += photo.split is not None
    assert one.num_photos == listed < whole_set(data).num_photos == len(whole.photos)
    assert len(other.classes) == 2
    assert other.data != one.data
