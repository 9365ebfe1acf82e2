"""Masks of another run, exported, are brought on Start, go through all stages, and are judged in Audit."""

import json
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow  # the real weights on all sample photos; Chromium too

JOB = 600_000  # milliseconds for all stages on the sample photos
PATIENCE = 120_000
CHEAP = ["features.shorter_side=112", "embeddings.mirror=false", "stage1.epochs=2"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """COCO with three boxes as masks on each sample photo, by name."""
    from maskdistill.datasets import open_source
    from maskdistill.masks import encode_mask

    images, annotations = [], []
    for number, photo in enumerate(open_source("sample").photos):
        images.append({"id": number, "file_name": f"{photo.id}.jpg", "height": photo.height, "width": photo.width})
        for place in range(3):
            mask = _box(photo.height, photo.width, place)
            item = {"image_id": number, "category_id": place + 1, "segmentation": encode_mask(mask), "score": 0.9}
            annotations.append({"id": len(annotations) + 1, **item})
    categories = [{"id": number, "name": name} for number, name in enumerate(("left", "middle", "right"), 1)]
    path = tmp_path_factory.mktemp("given") / "masks.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def _box(height, width, place):
    import numpy as np

    mask = np.zeros((height, width), bool)
    mask[height // 4 : 3 * height // 4, place * width // 3 + 5 : (place + 1) * width // 3 - 5] = True
    return mask


def test_from_start_to_audit(serve_once, tmp_path_factory, open_tab, exported):
    folder = tmp_path_factory.mktemp("bring")
    page = open_tab(serve_once(folder))
    page.set_default_timeout(PATIENCE)
    page.get_by_role("radio", name="Bring them").or_(page.get_by_role("button", name="Bring them")).first.click()
    path = page.get_by_role("textbox", name="Masks on this machine")
    path.fill("/nowhere.json")
    path.press("Enter")
    page.get_by_role("button", name="Bring masks").click()
    page.get_by_text(re.compile("nothing at /nowhere")).first.wait_for()  # the sentence stands in place
    path.fill(str(exported))
    path.press("Enter")
    page.get_by_role("button", name="Bring masks").click()
    page.wait_for_url(re.compile("/proposals"), timeout=JOB)
    page.get_by_text(re.compile("brought from")).first.wait_for()
    page.get_by_role("button", name="Brought", exact=True).wait_for()
    runs = [path.parent for path in (folder / "runs").glob("*/imported")]
    (run,) = [path for path in runs if (path / "masks.parquet").is_file()]
    command = [sys.executable, "-m", "maskdistill", "run", "--run", str(run), "--until", "filter", "--quiet"]
    cheap = [word for value in CHEAP for word in ("--set", value)]
    subprocess.run([*command, "--num-classes", "3", *cheap], check=True)
    address = page.url.split("/proposals")[0]
    page.goto(f"{address}/clusters?run={run.name}&reviewer=ann")
    page.get_by_text("Categories", exact=True).first.click()
    page.get_by_text("Purity").first.wait_for()
    page.goto(f"{address}/audit?run={run.name}&reviewer=ann")
    page.get_by_role("button", name=re.compile("Accept")).first.wait_for()
    page.keyboard.press("a")
    for _ in range(300):
        if _decided(run):
            break
        page.wait_for_timeout(200)
    assert _decided(run) == 1
    assert not page.locator("[data-testid=stException]").count()


def _decided(run):
    from maskdistill.review.decisions import read_marks
    from maskdistill.storage.run_folder import Run

    return len(read_marks(Run(run)))
