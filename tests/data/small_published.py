"""The published data sets in small: archives in their layouts, of drawn photos, and a server that sends them."""

import http.server
import io
import json
import re
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from tiny_run import CLASSES, draw_photo, tiny_config

from maskdistill.config import load_preset
from maskdistill.reproduce import artifacts

TRAIN, AUG, VAL = range(3), range(3, 8), range(8, 11)
DROPPED = 11  # a photo of no list, of which VOC has thousands


def png(image):
    content = io.BytesIO()
    image.save(content, "png")
    return content.getvalue()


def voc_files():
    """Path inside VOC2012 -> content: twelve photos, labels of train and val, lists."""
    files = {"classes.txt": "\n".join(CLASSES).encode()}
    for number in range(DROPPED + 1):
        photo, labels = draw_photo(number)
        files[f"JPEGImages/{number:02d}.png"] = png(photo)
        if number in (*TRAIN, *VAL):
            files[f"SegmentationClass/{number:02d}.png"] = png(Image.fromarray(labels))
    for name, numbers in (("train", TRAIN), ("val", VAL)):
        files[f"ImageSets/Segmentation/{name}.txt"] = "".join(f"{number:02d}\n" for number in numbers).encode()
    return files


def write_tar(path, files, within="VOCdevkit/VOC2012"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"{within}/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def write_trainaug(folder, with_list):
    """Labels of train, of further photos, and of a val photo, as SBD has them too."""
    folder.mkdir(parents=True)
    for number in (*TRAIN, *AUG, VAL[0]):
        Image.fromarray(draw_photo(number)[1]).save(folder / f"{number:02d}.png")
    if with_list:
        lines = [f"/JPEGImages/{number:02d}.jpg /SegmentationClassAug/{number:02d}.png" for number in (*TRAIN, *AUG)]
        (folder / "trainaug.txt").write_text("\n".join(lines))
    return folder


def coco_files():
    """Content of the archive of photos, of that of annotations, and of the list: eight of ten photos."""
    photos, images, annotations = {}, [], []
    for number in range(10):
        photo, labels = draw_photo(number)
        name = f"COCO_train2014_{number:012d}.png"
        photos[f"train2014/{name}"] = png(photo)
        images.append({"id": number + 1, "file_name": name, "height": labels.shape[0], "width": labels.shape[1]})
        code = coco_mask.encode(np.asfortranarray((labels > 0).astype(np.uint8)))
        annotations.append(
            {
                "id": number + 1,
                "image_id": number + 1,
                "category_id": int(labels.max()),
                "segmentation": {"size": code["size"], "counts": code["counts"].decode()},
                "area": int((labels > 0).sum()),
                "bbox": coco_mask.toBbox(code).tolist(),
                "iscrowd": 0,
            }
        )
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    names = "".join(f"train2014/{image['file_name']}\n" for image in images[:8])
    return photos, {"annotations/instances_train2014.json": json.dumps(content).encode()}, names


def write_zip(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def published(monkeypatch, experiment, address, digests=()):
    """The table with the addresses of another server, without stated sizes; digests in the table's order."""
    digests = [*digests, *[None] * 3]
    items = [
        replace(item, url=f"{address}/{Path(item.place).name}", num_bytes=None, megabytes=0.1, md5=digest)
        for item, digest in zip(artifacts.DATA[experiment], digests, strict=False)
    ]
    monkeypatch.setitem(artifacts.DATA, experiment, tuple(items))
    return items


def tiny_sets(folder):
    """Values for ``--set`` that make a run on the drawn photos take a second or two."""
    wanted, usual = tiny_config(folder).to_dict(), load_preset("quick").to_dict()
    return [
        f"{section}.{name}={json.dumps(value) if not isinstance(value, str) else value}"
        for section, values in wanted.items()
        if isinstance(values, dict)
        for name, value in values.items()
        if usual[section][name] != value and section != "evaluation"
    ]


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends files of ``server.files``, also from the middle; breaks off once after ``server.break_after`` bytes."""

    def do_GET(self):
        """Called by the server."""
        self.server.asked.append((self.path, self.headers.get("Range")))
        content = self.server.files.get(self.path.lstrip("/"))
        if content is None:
            self.send_error(404)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))[1])
        if not self.server.ranges:
            start = 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        part = content[start:]
        if self.server.break_after is not None:
            part, self.server.break_after = part[: self.server.break_after], None
        self.wfile.write(part)

    def log_message(self, *_arguments):
        """Nothing on standard error."""


@contextmanager
def serving(files, *, ranges=True, break_after=None):
    """A server of these files: name -> bytes; ``asked`` lists what it was asked."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.ranges, server.break_after, server.asked = files, ranges, break_after, []
    server.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
