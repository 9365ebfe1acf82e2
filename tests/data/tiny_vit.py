"""A transformer small enough for a unit test, known to timm by its name once this module is imported."""

from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer


@register_model
def vit_two_blocks_patch4_32(pretrained: bool = False, **options: object) -> VisionTransformer:
    """A timm architecture of two blocks, so that loading by name can be tested in milliseconds."""
    options = {name: value for name, value in options.items() if not name.startswith(("pretrained", "cache"))}
    return VisionTransformer(
        **{"img_size": 32, "patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 0, **options}
    )
