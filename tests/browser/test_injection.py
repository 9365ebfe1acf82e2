"""Names that are HTML, Markdown or script: every page shows them as text."""

import pytest
from tiny_run import draw_voc, run_chain, tiny_config

from maskdistill.review import decisions
from maskdistill.storage.run_folder import Run

pytestmark = pytest.mark.browser

PAGES = ("Start", "Proposals", "Clusters", "Filter", "Training", "Results", "Audit", "Guide")
EVIL = "<img src=x onerror=alert(1)> **bold7** www.evil.test `tick7` :red[red7] $math7$ <script>alert(2)<script>"
FORMATTED = "strong, em, code, a, script, .katex, span[style*='color'], img[src='x']"


@pytest.fixture
def folder(tmp_path):
    """A folder for a server, with a finished run whose every name is hostile."""
    voc = draw_voc(tmp_path / "voc")
    first = min((voc / "JPEGImages").iterdir())
    for place in ("JPEGImages", "SegmentationClass"):
        for file in (voc / place).glob(f"{first.stem}.*"):
            file.rename(file.with_name(f"{EVIL}{file.suffix}"))
    for file in (voc / "ImageSets" / "Segmentation").glob("*.txt"):
        file.write_text(file.read_text().replace(first.stem, EVIL))
    names = (voc / "classes.txt").read_text().split() if (voc / "classes.txt").is_file() else ["a", "b", "c"]
    (voc / "classes.txt").write_text("".join(f"{EVIL} {name}\n" for name in names))
    run = tmp_path / "runs" / EVIL
    run_chain(run, voc, tiny_config(tmp_path))
    decisions.rename(Run(run), EVIL, 1, EVIL[:60])
    return tmp_path


def idle(page):
    page.wait_for_function("document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'")


def formatted(page):
    """What of the names became more than text."""
    found = page.locator(FORMATTED).evaluate_all("nodes => nodes.map((node) => node.textContent + (node.src || ''))")
    return [text for text in found if text.strip() in ("bold7", "tick7", "red7", "math7", "www.evil.test", "alert(2)")]


def test_names_are_text_on_every_page(folder, serve, port, open_tab):
    with serve(folder, port) as address:
        page = open_tab(address)
        page.add_init_script("window.alert = () => { window.hacked = true; }")
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        for name in PAGES:
            path = "" if name == "Start" else name.lower()
            page.goto(f"{address}/{path}")
            page.evaluate(
                "query => location.search = query",
                page.evaluate(
                    "values => '?' + new URLSearchParams(values)", {"run": EVIL, "reviewer": EVIL, "data": f"/{EVIL}"}
                ),
            )
            page.get_by_role("heading").first.wait_for()
            idle(page)
            assert page.evaluate("window.hacked") is None, name
            assert formatted(page) == [], name
            assert page.locator("[data-testid=stException]").count() == 0, name
        assert [url for url in asked if "evil.test" in url.split("?")[0]] == []
