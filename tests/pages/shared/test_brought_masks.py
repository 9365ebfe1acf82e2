"""Pages on a run whose masks were made elsewhere: they say so, show the masks, and compare with their categories."""

import json
import shutil

import numpy as np
import pytest
from shown_page import texts
from tiny_run import CLASSES, NUM_TRAIN, NUM_VAL, draw_photo, draw_voc, run_chain, tiny_config

from app.clusters.categories_panel import category_numbers
from app.clusters.cluster_stats import read_cluster_stats
from app.run_view import decision_view, read_run_view
from maskdistill.datasets import open_source
from maskdistill.imports.given_masks import read_given_masks
from maskdistill.masks import encode_mask
from maskdistill.storage.run_folder import Run

MANY = 30  # masks of the first photo


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run on brought masks, up to the filter."""
    folder = tmp_path_factory.mktemp("brought")
    images, annotations = [], []
    for number in range(NUM_TRAIN + NUM_VAL):
        labels = draw_photo(number)[1]
        size = {"height": labels.shape[0], "width": labels.shape[1]}
        images.append({"id": number, "file_name": f"{number:02d}.png", **size})
        masks = [labels > 0]
        for place in range(MANY - 1 if number == 0 else 0):
            part = np.zeros(labels.shape, bool)
            part[place : place + 4, place : place + 9] = True
            masks.append(part)
        for mask in masks:
            item = {"image_id": number, "category_id": int(labels.max()), "segmentation": encode_mask(mask)}
            annotations.append({"id": len(annotations) + 1, "score": 0.7, **item})
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
    path = folder / "masks.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    data = draw_voc(folder / "voc")
    wanted = ("clusters", "stage1", "candidates", "filter")
    brought = read_given_masks(path, open_source(data))
    config = tiny_config(folder).with_overrides(["clusters.fit_to=all"])
    run_chain(folder / "runs/theirs", data, config, wanted=wanted, brought=brought)
    return Run(folder / "runs/theirs")


@pytest.fixture
def brought_run(made, runs_folder):
    return Run(shutil.copytree(made.path, runs_folder / "theirs"))


@pytest.mark.parametrize("page", ["proposals", "clusters", "filter", "training", "results", "audit", "guide"])
def test_every_page_opens(brought_run, open_page, page):
    app = open_page(page, run="theirs", reviewer="tess")
    assert not app.exception
    assert not app.error


def test_proposals_says_where_the_masks_are_from(brought_run, open_page):
    shown = texts(open_page("proposals", run="theirs")).replace("\\", "")
    assert brought_run.imported["from"] in shown


def test_the_matrix_of_categories_has_its_tab(brought_run, open_page):
    app = open_page("clusters", run="theirs", reviewer="tess", below="categories")
    assert not app.exception
    control = next(item for item in app.segmented_control if "Categories" in item.options)
    control.set_value("categories").run()
    assert not app.exception
    assert {"Purity", "Agreement"} <= {item.label for item in app.metric}


def test_a_cluster_names_its_commonest_category_and_its_share(brought_run):
    run_view = read_run_view(brought_run)
    frame = run_view.frame
    for row in read_cluster_stats(run_view, decision_view(run_view)).rows:
        own = frame.loc[(frame["cluster"] == row.cluster) & (frame["vector"] >= 0), "category"]
        assert row.category_share == pytest.approx(own.value_counts().max() / len(own))
        assert row.category in set(own[own.map(own.value_counts()) == own.value_counts().max()])


def test_categories_are_numbered_by_how_many_masks_they_have(brought_run):
    run_view = read_run_view(brought_run)
    numbers, names = category_numbers(run_view)
    named = np.array(["", *names], object)[numbers]
    assert named.tolist() == run_view.frame["category"].tolist()
    counts = np.bincount(numbers)[1:]
    assert (np.diff(counts) <= 0).all()


def test_a_run_with_masks_of_its_own_has_no_such_tab(finished_run, open_page):
    app = open_page("clusters", run="tiny", reviewer="tess")
    assert all("Categories" not in item.options for item in app.segmented_control)
