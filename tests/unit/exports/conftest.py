"""A run to export."""

import numpy as np
import pytest
from PIL import Image
from run_to_export import HEIGHT, NUM_PHOTOS, PROPOSALS, WIDTH, annotation, finish

from maskdistill.datasets import open_source
from maskdistill.files import write_json
from maskdistill.storage.run_folder import Run, write_table
from maskdistill.storage.run_photos import write_images


@pytest.fixture
def run(tmp_path):
    """A run that has its proposals."""
    folder = tmp_path / "photos"
    for number in range(NUM_PHOTOS):
        (folder / "deep").mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "deep" / f"{number}.png")
    (folder / "deep" / "4.png").write_bytes(b"no picture")
    run = Run(tmp_path / "run")
    source = open_source(folder)
    run.write_info({"data": source.spec, "config": {}, "backbone": {"name": "none"}})
    write_images(run, source)
    table = run.images()
    table["split"] = ["train", "train", "val", "train", None]
    table.loc[3, ["readable", "reason"]] = False, "damaged inside"
    write_table(run.images_path, table)
    images = [{"id": n, "file_name": f"deep/{n}.png", "height": HEIGHT, "width": WIDTH} for n in range(NUM_PHOTOS)]
    proposals = [annotation(id, mask) for id, mask in PROPOSALS.items()]
    write_json(run.proposals_path, {"images": images, "annotations": proposals})
    finish(run, "proposals")
    return run
