"""The looks at a photo, and at several together."""

import torch
from PIL import Image

from maskdistill.config import FeatureConfig
from maskdistill.features.backbone import Backbone, load_backbone
from maskdistill.proposals.views import explore_request, extract_views, extract_views_of


def test_second_look_is_the_smaller_mirror_image(tiny_weights):
    backbone = load_backbone(FeatureConfig(**tiny_weights))
    image = Image.new("RGB", (64, 64))
    recorded = []

    def note(_images, geometries, _request, *, mirror=False):
        recorded.extend((geometry, mirror) for geometry in geometries)
        return [None for _ in geometries]

    backbone.features_of = note
    first, second = extract_views(backbone, image, (64, 64), FeatureConfig(shorter_side=64), None, view_scale=0.75)
    assert [(geometry.rows, mirror) for geometry, mirror in recorded] == [(16, False), (12, True)]
    assert (first.mirrored, second.mirrored) == (False, True)


def test_second_look_at_a_padded_photo_is_not_padded(tiny_weights):
    """Turned around, padding at the right would move the content."""
    backbone = load_backbone(FeatureConfig(**tiny_weights))
    config = FeatureConfig(shorter_side=32, fit="pad")
    request = explore_request(backbone)
    first, second = extract_views(backbone, Image.new("RGB", (41, 32)), (32, 41), config, request, view_scale=0.75)
    assert first.geometry.padded_width > first.geometry.resized_width
    assert second.geometry.padded_width == second.geometry.resized_width


def test_photos_of_one_grid_go_through_together_and_come_back_in_order(tiny_weights, monkeypatch):
    backbone, config = load_backbone(FeatureConfig(**tiny_weights)), FeatureConfig(shorter_side=32)
    colours = ("red", "green", "blue", "white")
    sizes = [(32, 32), (32, 48), (64, 64), (32, 47)]  # height, width: two grids
    images = [Image.new("RGB", size[::-1], colour) for colour, size in zip(colours, sizes, strict=True)]
    passes, forward = [], Backbone.forward

    def note(self, pixels, request):
        passes.append(len(pixels))
        return forward(self, pixels, request)

    request = explore_request(backbone)
    alone = [
        extract_views(backbone, image, size, config, request, view_scale=0.5)
        for image, size in zip(images, sizes, strict=True)
    ]
    monkeypatch.setattr(Backbone, "forward", note)
    together = extract_views_of(backbone, images, sizes, config, request, view_scale=0.5)
    assert passes == [2, 2, 2, 2]
    for one, other in zip(alone, together, strict=True):
        for view, same in zip(one, other, strict=True):
            assert view.geometry == same.geometry
            torch.testing.assert_close(view.features.patch_tokens, same.features.patch_tokens)
            torch.testing.assert_close(view.features.cls_attention, same.features.cls_attention)
