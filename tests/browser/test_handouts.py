"""Pages to hand out, opened from the disk in Chromium with every network request refused."""

from pathlib import Path

import pytest
from tiny_run import WITHOUT_MAP, draw_voc, run_chain, tiny_config

from maskdistill.datasets import open_source
from maskdistill.features.backbone import load_backbone
from maskdistill.handouts.guide import guide_page
from maskdistill.handouts.guide_subject import GuideSubject
from maskdistill.handouts.report import report_page
from maskdistill.storage.run_folder import Run

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("handouts")
    (folder / "weights").mkdir()
    data, config = draw_voc(folder / "voc"), tiny_config(folder / "weights")
    run_chain(folder / "run", data, config, wanted=WITHOUT_MAP)
    run = Run(folder / "run")
    subject = GuideSubject.of(open_source(data).photos[0], config, load_backbone(config.features), run)
    contents = {"guide": guide_page(subject), "report": report_page(run)}
    for name, content in contents.items():
        (folder / f"{name}.html").write_text(content, encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in contents}


@pytest.fixture
def opened(browser, files):
    """Opens a page; what it asks the network for, and what it complains of, must be nothing."""
    contexts, asked, said = [], [], []

    def open_page(name, **options):
        context = browser.new_context(offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(files[name])
        return page

    yield open_page
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert said == []
    for context in contexts:
        context.close()


def test_arrow_keys_walk_through_the_steps(opened):
    page = opened("guide")
    shown = [page.locator("section:visible h2").inner_text()]
    for _ in range(8):
        page.keyboard.press("ArrowRight")
        shown.append(page.locator("section:visible h2").inner_text())
    assert [title[0] for title in shown] == list("123456788")
    assert page.locator(".steps [aria-current]").inner_text().startswith("8")
    page.keyboard.press("ArrowLeft")
    assert page.locator("section:visible h2").inner_text().startswith("7")
    assert page.url.endswith("#step-7")


def test_controls_change_what_is_shown(opened):
    page = opened("guide")
    page.keyboard.press("ArrowRight")
    heads = page.locator("section:visible input[type=radio]")
    heads.first.check()
    assert page.locator("section:visible .two .frame:visible").get_attribute("data-facts") == "Patches only"
    page.locator(".steps a").nth(3).click()
    slider, said = page.locator("section:visible input[type=range]"), page.locator("section:visible .said").first
    before = page.locator("section:visible output").inner_text()
    slider.focus()
    page.keyboard.press("Home")
    assert page.locator("section:visible output").inner_text() != before or said.inner_text()
    assert page.locator("section:visible h2").inner_text().startswith("4")  # a slider has arrows of its own
    page.locator(".steps a").nth(7).click()
    page.locator("section:visible [data-wipe]").fill("20")
    assert "20%" in page.locator("section:visible .scene").first.get_attribute("style")
    page.keyboard.press("Escape")
    page.locator(".walk .bare").click()
    assert (
        page.locator("section:visible .frame").first.evaluate("node => getComputedStyle(node).visibility") == "hidden"
    )


def test_click_on_a_patch_shows_its_affinities(opened):
    page = opened("guide")
    page.locator(".steps a").nth(2).click()
    scene = page.locator("section:visible [data-affinity]")
    box = scene.bounding_box()
    page.wait_for_function("document.querySelector('[data-affinity] canvas') !== null")
    scene.click(position={"x": 3, "y": 3})
    page.wait_for_function("!document.querySelector('[data-affinity] canvas').hidden")
    assert "Ring: row 1, column 1;" in page.locator("section:visible .said").first.inner_text()
    pixel = "n => [...n.getContext('2d').getImageData(0, 0, 1, 1).data]"
    assert scene.locator("canvas").evaluate(pixel) == [253, 231, 37, 255]  # a patch is as like itself as can be
    page.locator("section:visible [name=col]").fill("3")
    assert "column 3" in page.locator("section:visible .said").first.inner_text()
    assert box["width"] > 100


def test_printed_guide_has_every_step(opened):
    page = opened("guide")
    page.emulate_media(media="print")
    assert page.locator("section:visible").count() == 8
    assert page.locator(".control:visible").count() == 0


@pytest.mark.parametrize("name", ["guide", "report"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_anybody_can_read_it(opened, name, scheme):
    if not AXE.is_file():
        pytest.skip(f"There is no {AXE}: npm ci --ignore-scripts brings it.")
    page = opened(name, color_scheme=scheme, bypass_csp=True)
    if name == "guide":
        page.evaluate("document.documentElement.classList.remove('js')")
        page.evaluate("document.querySelectorAll('main > section').forEach((s) => { s.hidden = false; })")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    told = [(item["id"], [node["html"][:150] for node in item["nodes"][:3]]) for item in found["violations"]]
    assert told == []


@pytest.mark.parametrize("width", [1440, 1024, 390])
@pytest.mark.parametrize("name", ["guide", "report"])
def test_nothing_hangs_over(opened, name, width):
    page = opened(name, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
