from pathlib import Path

import pytest

PAGES = sorted(path.stem for path in (Path(__file__).resolve().parents[3] / "pages").glob("*.py"))


@pytest.mark.parametrize("stem", [name for name in PAGES if name not in ("proposals", "guide")])
def test_page_opens(open_page, stem):
    app = open_page(stem)
    assert not app.exception
    assert app.title


def test_proposals_opens(open_proposals):
    app = open_proposals()
    assert not app.exception
    assert app.title[0].value == "Proposals"
