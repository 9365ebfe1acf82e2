"""Every family of vision transformers that timm has, with random weights, all the way to masks and vectors."""

import re

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.models.beit import Beit
from torch.nn import functional as F

from maskdistill.clustering.mask_embeddings import embed_masks
from maskdistill.config import CrfConfig, EmbeddingConfig, FeatureConfig, ProposalConfig, RunConfig
from maskdistill.errors import ConfigError
from maskdistill.features import backbone as backbones
from maskdistill.features.families import embed, prepare, project
from maskdistill.features.forward import FeatureRequest, forward_features
from maskdistill.features.patch_tokens import stack_tokens
from maskdistill.features.registry import choose_backbone
from maskdistill.proposals.propose import Recipe, propose

# One of each family, cut down to two narrow blocks.
PLAIN = [
    "vit_tiny_patch16_224",  # ViT; MAE, iBOT and DINO are of this kind
    "vit_small_patch16_224.dino",
    "vit_small_patch14_dinov2",
    "vit_small_patch14_reg4_dinov2",
    "vit_xsmall_patch16_clip_224",  # CLIP: a norm before the blocks
    "vit_wee_patch16_reg1_gap_256",  # registers, mean of the patches in place of CLS
    "vit_base_patch16_siglip_224",  # no CLS: attention pooling
    "vit_base_patch16_rpn_224",  # norms after the attention
    "vit_small_patch16_36x1_224",  # layer scale
    "vit_base_patch14_reg1_tipsv2",
    "vit_base_patch16_radio_v3",
    "flexivit_small",
    "test_vit2",
    "deit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",  # a second token that is no patch
    "deit3_small_patch16_224",
    "beit_base_patch16_224",  # a bias by relative position
    "beitv2_base_patch16_224",
    "beit3_base_patch16_224",
]
ROTARY = [
    "eva02_tiny_patch14_224",
    "vit_small_patch16_dinov3",
    "vit_tiny_patch16_dinov3_qkvb",
    "vit_small_patch16_rope_224",
    "vit_small_patch16_rope_mixed_ape_224",  # another rotation in each block
    "vit_medium_patch16_rope_reg1_gap_256",
    "vit_pe_core_tiny_patch16_384",
    "vit_pe_spatial_tiny_patch16_512",
    "vit_small_patch16_lingbot",
]
WITHOUT_HEADS = ["vit_small_patch16_18x2_224", "vit_base_patch16_xp_224"]  # attentions side by side, or beside the MLP
NOT_FOUND_BY_NAME = ("test_vit2",)


def build(name):
    """A model of two narrow blocks with random weights, large enough that a mistake shows."""
    if not timm.is_model(name.partition(".")[0]):
        pytest.skip(f"timm {timm.__version__} has no {name}")
    size = {} if timm.models.is_model_in_modules(name, ("beit",)) else {"dynamic_img_size": True}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        narrow = {"depth": 2, "embed_dim": 64, "num_heads": 2, "img_size": 4 * _patch(name)}
        model = timm.create_model(name, num_classes=0, **narrow, **size)
        for parameter in model.parameters():
            parameter.data.normal_(std=0.1) if parameter.ndim < 2 else parameter.data.mul_(3)
    return model.eval().requires_grad_(False)


def _patch(name):
    found = re.search(r"patch(\d+)", name)
    return int(found[1]) if found else 16


@pytest.fixture
def backbone(request, monkeypatch):
    """As ``load_backbone`` makes it of a name, without the hub."""
    name = request.param
    monkeypatch.setattr(backbones, "check_reachable", lambda _spec: None)
    model = build(name)
    monkeypatch.setattr(backbones.timm, "create_model", lambda _architecture, **_options: model)
    return backbones.load_backbone(FeatureConfig(backbone=name, device="cpu", precision="float32"))


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(90, 130, (60, 76, 3))
    pixels[15:45, 20:50] = (220, 30, 30)
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def engines_of(backbone):
    """Engine and feature, all that this transformer has."""
    yield "ncut", "tokens"
    if backbone.has_heads:
        yield from (("ncut", kind) for kind in ("keys", "queries", "values"))
    if backbone.has_attention:
        yield "published", "auto"


NAMES = [name for name in (*PLAIN, *ROTARY, *WITHOUT_HEADS) if name not in NOT_FOUND_BY_NAME]


@pytest.mark.parametrize("backbone", NAMES, indirect=True)
def test_whole_way_from_a_photo_to_masks_and_their_vectors(backbone, photo):
    side = 5 * backbone.patch_size
    image = Image.open(photo)
    for engine, feature in engines_of(backbone):
        proposals = ProposalConfig(engine=engine, feature=feature, num_heads=2, tau=0.9)
        config = RunConfig(features=FeatureConfig(shorter_side=side), proposals=proposals)
        found = propose(photo, backbone, config)
        assert all(item.mask.shape == (60, 76) for item in found.proposals)
        assert all(0 <= item.score <= 1 for item in found.proposals)
    geometry = backbone.geometry(60, 76, FeatureConfig(shorter_side=side))
    features = backbone.features(image, geometry, FeatureRequest(token_blocks=(2,)))
    tokens = stack_tokens(features, (2,))
    mask = np.zeros((60, 76), bool)
    mask[15:45, 20:50] = True
    crop = EmbeddingConfig(crop_side=3 * backbone.patch_size, blocks=(1, 2))
    vectors = embed_masks(backbone, image, [mask], tokens, geometry, crop, (2,))
    assert set(vectors) == {"cls1", "cls2", "crop2", "photo2"}
    assert all(np.isfinite(values).all() and values.std() > 0 for values in vectors.values())


@pytest.mark.parametrize("name", [*PLAIN, *ROTARY, *WITHOUT_HEADS])
@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (3, 5)])
def test_tokens_are_those_of_the_model(name, rows, cols):
    model, patch = build(name), _patch(name)
    pixels = torch.randn(1, 3, rows * patch, cols * patch, generator=torch.Generator().manual_seed(1))
    reference = build(name)
    if isinstance(reference, Beit):
        if not hasattr(reference, "set_input_size"):
            pytest.skip(f"timm {timm.__version__} cannot run BEiT on another size itself")
        reference.set_input_size((rows * patch, cols * patch))
    expected = reference.forward_features(pixels)
    prepare(model)
    found = forward_features(model, pixels, FeatureRequest(token_blocks=(2,), cls_blocks=(2,)))[0]
    torch.testing.assert_close(found.patch_tokens[2], expected[0, model.num_prefix_tokens :], rtol=1e-4, atol=1e-4)
    cls = expected[0, 0] if model.cls_token is not None else expected[0, model.num_prefix_tokens :].mean(dim=0)
    torch.testing.assert_close(found.cls_tokens[2], cls, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [*PLAIN, *ROTARY])
def test_queries_keys_and_values_give_the_attention_of_the_block(name):
    """What follows from them, as the attention would go on, is what the attention returns."""
    model, patch = build(name), _patch(name)
    prepare(model)
    pixels = torch.randn(1, 3, 3 * patch, 4 * patch, generator=torch.Generator().manual_seed(1))
    embedded = embed(model, pixels, antialias=True)
    attention, inputs = model.blocks[0].attn, torch.randn_like(embedded.tokens)
    options = embedded.options(0)
    heads = project(attention, inputs, options.get("rope"))
    bias = options.get("shared_rel_pos_bias")
    mixed = F.scaled_dot_product_attention(heads.turned_queries, heads.turned_keys, heads.values, attn_mask=bias)
    mixed = mixed.transpose(1, 2).flatten(2)
    mixed = getattr(attention, "norm", torch.nn.Identity())(mixed)
    if getattr(attention, "gate", None) is not None:
        mixed = mixed * attention.gate(inputs).sigmoid()
    torch.testing.assert_close(attention.proj(mixed), attention(inputs, **options), rtol=1e-4, atol=1e-4)


def test_rotary_keys_are_turned_only_where_the_attention_is_told():
    model = build("vit_small_patch16_dinov3")
    request = FeatureRequest(last_qk=True, projections=(("keys", 2), ("queries", 1)))
    found = forward_features(model, torch.randn(1, 3, 48, 64), request)[0]
    plain = found.projections["keys", 2]
    assert plain.shape == found.keys.shape == (2, 12, 32)
    assert not torch.allclose(plain, found.keys)
    torch.testing.assert_close(plain.norm(dim=-1), found.keys.norm(dim=-1))  # a rotation
    torch.testing.assert_close(found.cls_attention.sum(dim=1).clamp(max=1), found.cls_attention.sum(dim=1))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("vit_small_r26_s32_224", "hybrid"),
        ("vit_relpos_small_patch16_224", "relative positions"),
        ("samvit_base_patch16", "not a vision transformer"),
        ("naflexvit_base_patch16_gap", "not a vision transformer"),
        ("xcit_nano_12_p16_224", "not a vision transformer"),
    ],
)
def test_other_families_are_refused_by_name(name, why):
    with pytest.raises(ConfigError, match=why) as caught:
        choose_backbone(name)
    assert name in str(caught.value)


@pytest.mark.parametrize("backbone", WITHOUT_HEADS[:1], indirect=True)
def test_what_a_transformer_lacks_is_said(backbone):
    with pytest.raises(ConfigError, match=r"has no keys of its own\. Set proposals\.feature=tokens"):
        Recipe.resolve(ProposalConfig(feature="keys"), CrfConfig(), backbone)
    with pytest.raises(ConfigError, match=r"Set proposals\.engine=ncut"):
        Recipe.resolve(ProposalConfig(engine="published"), CrfConfig(), backbone)
    with pytest.raises(ConfigError, match=r"set proposals\.feature=tokens"):
        forward_features(backbone.model, torch.zeros(1, 3, 32, 32), FeatureRequest(projections=(("keys", 1),)))
    assert Recipe.resolve(ProposalConfig(), CrfConfig(), backbone).config.foreground == "border"
