"""The files that the published experiments need: where they are, how large, their digests, their terms.

Sizes and digests are those that their publishers, or libraries that have fetched them for years, state. Where nobody
states one, it is None: the file is then checked by being read, and its digest is written down at the first fetch, so
that a later one can be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maskdistill.config import RunConfig

Experiment = Literal["voc", "coco20k"]
EXPERIMENTS: tuple[Experiment, ...] = ("voc", "coco20k")
PRESETS: dict[str, str] = {"voc": "paper-voc", "coco20k": "paper-coco"}


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One file."""

    name: str  # for people
    url: str
    place: str  # inside the root
    megabytes: float  # exact if ``num_bytes`` is known, else about
    num_bytes: int | None = None
    md5: str | None = None  # the whole digest, or as many hexadecimal digits as are published
    terms: str
    stated_by: str  # who states size and digest

    def path(self, root: Path) -> Path:
        """Where it lies."""
        return root / self.place

    @property
    def checked_by(self) -> str:
        """What a fetched file is compared with, for people."""
        if self.md5 is None:
            return "not known here: written down at the first fetch"
        return f"MD5 {self.md5}" + ("" if len(self.md5) == 32 else " (its first digits)")


VOC = Artifact(
    name="PASCAL VOC 2012, train and val",
    url="https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    place="downloads/VOCtrainval_11-May-2012.tar",
    megabytes=1999.6,
    num_bytes=1_999_639_040,
    md5="6cd6e144f989b92b3379bac3b3de84fd",
    terms="photos of Flickr, under its terms of use",
    stated_by="torchvision (URL, digest)",
)
COCO_PHOTOS = Artifact(
    name="COCO 2014, photos of train",
    url="http://images.cocodataset.org/zips/train2014.zip",
    place="downloads/train2014.zip",
    megabytes=13510.6,
    num_bytes=13_510_573_713,
    md5="0da8c0bd3d6becc4dcb32757491aca88",
    terms="photos of Flickr, under its terms of use",
    stated_by="LAVIS and others (digest)",
)
COCO_ANNOTATIONS = Artifact(
    name="COCO 2014, annotations of train and val",
    url="http://images.cocodataset.org/annotations/annotations_trainval2014.zip",
    place="downloads/annotations_trainval2014.zip",
    megabytes=252.9,
    num_bytes=252_872_794,
    md5="0a379cfc70b0e71301e0f377548639bd",
    terms="CC BY 4.0",
    stated_by="PaddleDetection and others (digest)",
)
COCO_20K = Artifact(
    name="COCO-20k, the list of LOST",
    url="https://raw.githubusercontent.com/valeoai/LOST/master/datasets/coco_20k_filenames.txt",
    place="downloads/coco_20k_filenames.txt",
    megabytes=1,
    terms="Apache-2.0 (LOST, Siméoni et al., BMVC 2021)",
    stated_by="nobody",
)
DINO_VIT = Artifact(
    name="DINO ViT-S/16",
    url="https://dl.fbaipublicfiles.com/dino/dino_deitsmall16_pretrain/dino_deitsmall16_pretrain.pth",
    place="weights/dino_deitsmall16_pretrain.pth",
    megabytes=87,
    terms="Apache-2.0",
    stated_by="nobody",
)
DINO_RESNET = Artifact(
    name="DINO ResNet-50, to start Mask R-CNN from",
    url="https://dl.fbaipublicfiles.com/dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth",
    place="weights/dino_resnet50_pretrain.pth",
    megabytes=94,
    terms="Apache-2.0",
    stated_by="nobody",
)
MOCO_RESNET = Artifact(
    name="MoCo v2 ResNet-50 (800 epochs), to start DeepLab from",
    url="https://dl.fbaipublicfiles.com/moco/moco_checkpoints/moco_v2_800ep/moco_v2_800ep_pretrain.pth.tar",
    place="weights/moco_v2_800ep_pretrain.pth.tar",
    megabytes=350,
    md5="a04e12f8",
    terms="CC BY-NC 4.0: no commercial use",
    stated_by="MoCo's README (first digits of the digest)",
)
DATA: dict[str, tuple[Artifact, ...]] = {"voc": (VOC,), "coco20k": (COCO_PHOTOS, COCO_ANNOTATIONS, COCO_20K)}
PAPER_BACKBONE, ARCHITECTURE = "dino_vits16", "vit_small_patch16_224.dino"


def weights_of(config: RunConfig) -> tuple[Artifact, ...]:
    """The weights that settings leave open: DINO's transformer, initial weights of either network."""
    wanted = [DINO_VIT] if config.features.backbone == PAPER_BACKBONE else []
    wanted += [DINO_RESNET] if config.stage1.model != "patch_head" and not config.stage1.weights else []
    wanted += [MOCO_RESNET] if config.stage2.model != "patch_head" and not config.stage2.weights else []
    return tuple(wanted)


def with_weights(config: RunConfig, root: Path, found: Sequence[Artifact]) -> RunConfig:
    """The settings with these files in the places that were left open."""
    values: list[str] = []
    if DINO_VIT in found:
        values += [f"features.backbone={DINO_VIT.path(root)}", f"features.architecture={ARCHITECTURE}"]
    values += [f"stage1.weights={DINO_RESNET.path(root)}"] if DINO_RESNET in found else []
    values += [f"stage2.weights={MOCO_RESNET.path(root)}"] if MOCO_RESNET in found else []
    return config.with_overrides(values)
