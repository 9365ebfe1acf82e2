"""ResNet-50 initial weights, in the formats in which self-supervised ones are published.

DINO (``dino_resnet50_pretrain.pth``: plain names without the classifier; the full checkpoint: 'student' and 'teacher'
with ``module.backbone.`` in front), MoCo v1, v2 and v3 (``state_dict`` with ``module.encoder_q.`` or
``module.base_encoder.``, a projection head as ``fc``, queue and momentum encoder beside it), torchvision and timm.
"""

import re
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import resnet50

from maskdistill.errors import CheckpointError, ConfigError
from maskdistill.features.weight_files import check_state, read_state_dict, strip_prefixes

STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")  # the stem is conv1 with bn1
_BODY = re.compile(r"(conv1|bn1|layer\d+)\.")  # everything but the classifier
_REMEDY = (
    "Give a ResNet-50 as DINO or MoCo publish it, such as dino_resnet50_pretrain.pth or moco_v2_800ep_pretrain.pth.tar."
)


def load_resnet50(body: nn.Module, path: Path) -> None:
    """Load a file's weights into a ResNet-50 with torchvision's names; heads in the file are dropped.

    Args:
        body: torchvision's ResNet-50 or what its models make of it; its own classifier, if it has one, is left alone.
        path: A .safetensors file, or one that ``torch.save`` wrote, whatever its suffix.

    Raises:
        CheckpointError: If the file is missing or cannot be read safely, or holds another network.
    """
    state = _read_body(path)
    own = {name: value for name, value in body.state_dict().items() if _BODY.match(name)}
    with torch.no_grad():
        for name, value in own.items():
            if name in state:  # counters of batches are in newer files only, and nothing depends on them
                value.copy_(state[name])


def _read_body(path: Path) -> dict[str, Tensor]:
    state = strip_prefixes(read_state_dict(path))
    state = {name: value for name, value in state.items() if _BODY.match(name)}
    with torch.device("meta"):
        wanted = resnet50(weights=None).state_dict()
    wanted = {name: value for name, value in wanted.items() if _wanted(name)}
    _check_family(state, path)
    check_state(wanted, state, path, _REMEDY)
    return state


def _wanted(name: str) -> bool:
    return bool(_BODY.match(name)) and not name.endswith("num_batches_tracked")


def _check_family(state: dict[str, Tensor], path: Path) -> None:
    """Name the usual mistakes: another kind of network, or another depth."""
    if "conv1.weight" not in state or "layer1.0.conv1.weight" not in state:
        raise CheckpointError(
            f"{path} holds no ResNet: it has no 'conv1.weight' with 'layer1.0.conv1.weight'. {_REMEDY}"
        )
    depth = sum(bool(re.fullmatch(r"layer\d+\.\d+\.conv\d\.weight", name)) for name in state) + 2
    if depth != 50 or "layer1.0.conv3.weight" not in state:
        raise CheckpointError(f"{path} holds a ResNet-{depth}, wanted a ResNet-50. {_REMEDY}")


def freeze_stages(body: nn.Module, num_stages: int) -> list[nn.Module]:
    """Freeze the first stages of a ResNet: stem, layer1, layer2, layer3, layer4.

    Returns:
        Their modules. They must be kept in eval mode too, or their batch norms go on counting.

    Raises:
        ConfigError: If there are not so many stages.
    """
    if not 0 <= num_stages <= len(STAGES):
        raise ConfigError(f"frozen_stages must be in [0, {len(STAGES)}], got {num_stages}.")
    names = [part for stage in STAGES[:num_stages] for part in (("conv1", "bn1") if stage == "stem" else (stage,))]
    modules = [body.get_submodule(name) for name in names]
    for module in modules:
        module.requires_grad_(False)
    return modules
