import base64
import hashlib
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from outline import Outline
from PIL import Image

from maskdistill.cli.main import main
from maskdistill.errors import ConfigError, RunError
from maskdistill.handouts import guide, html
from maskdistill.handouts.guide_subject import GuideSubject
from maskdistill.handouts.guide_texts import NO_MASK, STEPS, WITHOUT_RUN_ON_PAGE
from maskdistill.pictures import derivation
from maskdistill.storage.run_folder import Run


def test_page_has_the_eight_steps_with_their_texts(pages):
    for page in pages:
        outline = Outline(page)
        assert [item["id"] for item in outline.all("section")] == [f"step-{number}" for number in range(1, 9)]
        for words in STEPS:
            assert words.title in outline.text
            assert words.caution.replace("**", "") in outline.text


def test_page_fetches_nothing_and_runs_no_script_but_its_own(pages):
    for page in pages:
        outline = Outline(page)
        policy = outline.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
        script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert policy.startswith("default-src 'none'; img-src data:;")
        assert f"script-src 'sha256-{digest}';" in policy
        assert all(item["src"].startswith("data:image/") for item in outline.all("img"))
        assert not re.search(r"https?://|url\((?!data:)", page)
        assert len(page.encode()) < html.MAX_BYTES


def test_every_picture_is_whole(pages):
    for _, content in {*re.findall(r'src="data:image/(\w+);base64,([^"]+)"', pages[1])}:
        Image.open(io.BytesIO(base64.b64decode(content))).load()


def test_names_are_text_and_nothing_else(hostile_page):
    outline = Outline(hostile_page)
    assert len(outline.all("script")) == 2  # the page's own, and numbers that nothing runs
    assert not any(name.startswith("on") for _, attributes in outline.elements for name in attributes)
    assert "<script>alert(1)</script>" in outline.text
    hostile_page.encode("utf-8")


def test_without_a_run_later_steps_say_what_they_need(pages):
    sentence = WITHOUT_RUN_ON_PAGE.replace("**", "")
    assert Outline(pages[0]).text.count(sentence) == 4
    assert sentence not in Outline(pages[1]).text


def test_run_shows_its_clusters_filter_and_models(subjects, pages, finished):
    subject, page = subjects[1], pages[1]
    outline = Outline(page)
    names = {item.get("name") for item in outline.all("input", type="radio")}
    assert "cluster" in names
    scores = [f"{item.score:.2f}" for item in subject.predicted.masks]
    assert scores
    assert all(score in outline.text for score in scores)
    assert f"Steps 5 to 8 by the run {finished[0].name}" in outline.text
    assert "not one of its own" not in outline.text
    differ = np.mean(subject.predicted.first != subject.predicted.final)
    assert f"The two models differ on {differ:.1%} of the photo." in outline.text
    assert len(outline.all("input", **{"data-names": "before|1 of 3|2 of 3|3 of 3"})) == 1


def test_affinities_on_the_page_are_those_of_the_patches(subjects, pages):
    about = json.loads(re.search(r'id="affinity-data">(.*?)</script>', pages[0])[1])
    levels = np.asarray(Image.open(io.BytesIO(base64.b64decode(about["picture"].partition(",")[2]))), float)
    live = subjects[0].live
    rows, cols = live.view.features.grid
    assert (about["rows"], about["cols"]) == (rows, cols)
    for patch in ((0, 0), (rows - 1, cols // 2)):
        wanted = derivation.affinity_map(live, patch).ravel()
        found = about["low"] + levels[patch[0] * cols + patch[1]] / 255 * (1 - about["low"])
        np.testing.assert_allclose(found, wanted, atol=0.006)


def test_page_that_is_too_large_takes_a_smaller_photo_and_gives_up_in_the_end(subjects, pages, monkeypatch):
    without = len(pages[0].encode()) - 10
    monkeypatch.setattr(html, "MAX_BYTES", without)
    monkeypatch.setattr(guide, "PHOTO_SIDES", (1024, 24))
    assert len(guide.guide_page(subjects[0]).encode()) < without
    monkeypatch.setattr(html, "MAX_BYTES", 1000)
    with pytest.raises(ConfigError, match="more than"):
        guide.guide_page(subjects[0])


def test_photo_without_a_mask_says_so(subjects):
    live = subjects[1].live
    without = replace(live, proposals=replace(live.proposals, proposals=()))
    page = guide.guide_page(replace(subjects[1], live=without, predicted=None))
    assert Outline(page).text.count(NO_MASK) == 4


def test_run_that_is_not_trained_is_refused(subjects, tmp_path):
    with pytest.raises(RunError, match="no final model yet"):
        GuideSubject.of(subjects[0].photo, subjects[0].config, subjects[0].backbone, Run(tmp_path))


def test_command_writes_the_page(scene, finished, tmp_path, capsys):
    photo = scene[0] / "JPEGImages" / "09.png"
    out = tmp_path / "page.html"
    assert main(["guide", "--photo", str(photo), "--run", str(finished[0].path), "--html", str(out)]) == 0
    assert "this photo is not one of its own" not in out.read_text(encoding="utf-8")
    assert str(out) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--photo", "nowhere.jpg"], "wants one file of a picture"),
        (["--set", "features.shorter_side=64"], "read the features that it was made with"),
        (["--backbone", "dino_vits16"], "was made with the backbone"),
    ],
)
def test_command_refuses_what_cannot_work(scene, finished, tmp_path, capsys, arguments, sentence):
    photo = [] if "--photo" in arguments else ["--photo", str(scene[0] / "JPEGImages" / "09.png")]
    command = ["guide", "--run", str(finished[0].path), "--html", str(tmp_path / "page.html"), *photo, *arguments]
    assert main(command) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()
