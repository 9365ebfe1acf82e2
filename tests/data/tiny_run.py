"""Photos drawn for a test, a whole run on them in a second or two, and how two runs compare."""

import shutil

import numpy as np
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from tiny_vit import vit_two_blocks_patch4_32

from maskdistill.config import (
    ClusterConfig,
    EmbeddingConfig,
    EvaluationConfig,
    FeatureConfig,
    ProposalConfig,
    RunConfig,
    TrainConfig,
)
from maskdistill.models.training.checkpoint import read_tensors
from maskdistill.stages.chain import Options, run_stages
from maskdistill.stages.stage_list import BY_NAME, OF_EVERY_RUN
from maskdistill.storage.progress import Reporter
from maskdistill.storage.run_folder import Run

NUM_TRAIN, NUM_VAL = 8, 4
NUM_PHOTOS = NUM_TRAIN + NUM_VAL
CLASSES = ("disc", "square", "stripes")
COLOURS = ((220, 30, 30), (30, 200, 40), (40, 60, 230))
SIZES = ((64, 56), (56, 64), (64, 64), (60, 48))  # width, height
WITHOUT_MAP = tuple(name for name in OF_EVERY_RUN if name != "projection")  # UMAP takes seconds to start
NOTHING = "Nothing to do"


def draw_object(label, generator, size):
    """(H, W) bool: a disc, a square or two stripes somewhere in the picture."""
    image = Image.new("L", size)
    draw = ImageDraw.Draw(image)
    x, y, side = (int(generator.integers(*pair)) for pair in ((4, 20), (4, 12), (24, 32)))
    if label == 1:
        draw.ellipse((x, y, x + side, y + side), fill=1)
    elif label == 2:
        draw.rectangle((x, y, x + side, y + side), fill=1)
    else:
        draw.rectangle((x, y, x + side // 2 - 3, y + side), fill=1)
        draw.rectangle((x + side // 2 + 3, y, x + side, y + side), fill=1)
    return np.asarray(image) > 0


def draw_photo(number):
    """A picture of one object on noisy grey, and its (H, W) uint8 labels."""
    generator = np.random.default_rng(number)
    label = number % len(CLASSES) + 1
    size = SIZES[number % len(SIZES)]
    mask = draw_object(label, generator, size)
    pixels = generator.integers(90, 130, (*mask.shape, 3))
    pixels[mask] = COLOURS[label - 1] + generator.integers(-20, 20, (int(mask.sum()), 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), (mask * label).astype(np.uint8)


def draw_voc(folder, num_train=NUM_TRAIN, num_val=NUM_VAL):
    """A folder in VOC's layout, every photo with ground truth."""
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    ids = [f"{number:02d}" for number in range(num_train + num_val)]
    for number, id in enumerate(ids):
        photo, labels = draw_photo(number)
        photo.save(folder / "JPEGImages" / f"{id}.png")
        Image.fromarray(labels).save(folder / "SegmentationClass" / f"{id}.png")
    (folder / "classes.txt").write_text("\n".join(CLASSES))
    (folder / "ImageSets/Segmentation/train.txt").write_text("\n".join(ids[:num_train]))
    (folder / "ImageSets/Segmentation/val.txt").write_text("\n".join(ids[num_train:]))
    return folder


def tiny_config(folder):
    """Settings for a whole run in a second or two; the random weights of a tiny transformer are written to a file."""
    model = vit_two_blocks_patch4_32(dynamic_img_size=True)
    generator = torch.Generator().manual_seed(0)
    state = {name: torch.randn(value.shape, generator=generator) * 0.2 for name, value in model.state_dict().items()}
    save_file(state, folder / "tiny.safetensors")
    training = TrainConfig(epochs=3, batch_size=4, hidden=16, learning_rate=1e-2)
    return RunConfig(
        features=FeatureConfig(
            backbone=str(folder / "tiny.safetensors"),
            architecture=vit_two_blocks_patch4_32.__name__,
            precision="float32",
            batch_size=1,
            device="cpu",
            shorter_side=32,
        ),
        proposals=ProposalConfig(num_objects=2, feature="tokens", tau=0.96, min_area=0.0),
        embeddings=EmbeddingConfig(crop_side=32, blocks=(2,)),
        clusters=ClusterConfig(num_classes=3, num_rounds=6, num_spaces=2, dimensions=4),
        stage1=training,
        stage2=training,
        evaluation=EvaluationConfig(num_seeds=2),
    ).with_overrides(["filter.min_iou=0.3", "filter.empty_photos=none", "crf.max_pixels=1000"])


def run_chain(path, data, config, *, wanted=WITHOUT_MAP, **options):
    """Do the stages; returns their sentences by name."""
    said = {}
    how = Options(num_workers=1, quiet=True, **options)
    run_stages(Run(path), str(data), config, wanted=wanted, options=how, on_stage=said.__setitem__)
    return said


def redone(said):
    """Names of the stages that had something to do."""
    return [name for name, sentence in said.items() if not sentence.startswith(NOTHING)]


def forget_from(run, stage):
    """Take away the records and artifacts of a stage and of all after it."""
    for name in WITHOUT_MAP[WITHOUT_MAP.index(stage) :]:
        run.stage_path(name).unlink()
        for artifact in BY_NAME[name].artifacts:
            (run.path / artifact).unlink(missing_ok=True)
        for folder in run.path.glob("features/masks-*" if name == "embeddings" else f"{name}/"):
            shutil.rmtree(folder)


def interrupt_stage(monkeypatch, stage, count):
    """Ctrl-C at the stage's count-th sign of progress, once."""
    advance, left = Reporter.advance, [count]

    def limited(self, amount=1):
        advance(self, amount)
        if self._stage == stage:
            left[0] -= 1
            if left[0] == 0:
                monkeypatch.setattr(Reporter, "advance", advance)
                raise KeyboardInterrupt

    monkeypatch.setattr(Reporter, "advance", limited)


def label_maps(folder):
    """Label maps below a folder by photo number, in the values that are stored."""
    return {int(path.stem): np.asarray(Image.open(path)) for path in sorted(folder.rglob("*.png"))}


def assert_fits_photos(maps, scene):
    for number, labels in maps.items():
        with Image.open(scene[0] / "JPEGImages" / f"{number:02d}.png") as photo:
            assert labels.shape == (photo.height, photo.width)


def contents_of(run):
    """Every artifact of a run: bytes, or of weights the tensors and what stands beside them.

    The header of a .safetensors file has its entries in no fixed order, so that equal weights differ in bytes. Left
    out: progress, locks, copies that are made again when needed, and what holds times (checkpoints and histories of a
    training, when photos changed).
    """
    timed = ("progress.json", "history.jsonl", "checkpoint.safetensors", "source.parquet")
    paths = (path for path in run.path.rglob("*") if path.is_file())
    return {
        str(path.relative_to(run.path)): weights_of(path) if path.suffix == ".safetensors" else path.read_bytes()
        for path in paths
        if path.suffix not in (".lock", ".arrow") and path.name not in timed
    }


def weights_of(path):
    tensors, values = read_tensors(path)
    return values, {name: value.numpy().tobytes() for name, value in tensors.items()}


def assert_same_artifacts(one, other):
    found, wanted = contents_of(one), contents_of(other)
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []
