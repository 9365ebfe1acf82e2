import pytest

from app import selection
from app.selection import Option, Selection


@pytest.fixture
def notices(monkeypatch):
    """What a link's reader would show at the top of the page."""
    found = []
    monkeypatch.setattr(selection, "notify", found.append)
    return found


def test_long_value_of_a_link_stays_whole(notices):
    name = "x" * 500
    chosen = Selection(run="a", options=((str(Option.HOLDING), name),))
    assert selection._parse(selection._format(chosen)) == chosen
    assert notices == []


def test_value_that_is_too_long_is_left_out_with_a_notice_never_cut(notices):
    chosen = selection._parse({str(Option.HOLDING): ["x" * (selection._LONGEST_OPTION + 1)]})
    assert chosen.options == ()
    assert len(notices) == 1
    assert Option.HOLDING in notices[0]


def test_every_field_survives_the_link(notices):
    chosen = Selection(
        run="a",
        photo="cat",
        patch=(0, 3),
        changes=("proposals.tau=0.3",),
        compare="pinned",
        pinned=("seed=1",),
        sort="worst",
        stage="stage1",
        job=2,
        mask=0,
        cluster=4,
        picked="ids:1",
        options=(("step", "4"),),
    )
    assert selection._parse(selection._format(chosen)) == chosen
    assert notices == []
