import pytest
import torch
from timm.layers.attention import Attention
from torch import nn

from maskdistill.features import attention
from maskdistill.features.attention import BlockedAttention, use_blocked_attention
from maskdistill.features.forward import FeatureRequest, forward_features


def make_attention(**options):
    torch.manual_seed(0)
    layer = Attention(24, num_heads=3, qkv_bias=True, **options).eval()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.3)
    return layer


@pytest.mark.parametrize("options", [{}, {"qk_norm": True, "norm_layer": nn.LayerNorm}])
@pytest.mark.parametrize("queries_per_block", [512, 16, 7])
def test_equals_timms_attention(monkeypatch, options, queries_per_block):
    monkeypatch.setattr(attention, "QUERIES_PER_BLOCK", queries_per_block)
    layer, x = make_attention(**options), torch.randn(2, 33, 24, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(BlockedAttention(layer)(x), layer(x))


def test_no_more_rows_than_a_block_exist_at_once(monkeypatch):
    monkeypatch.setattr(attention, "QUERIES_PER_BLOCK", 16)
    rows, softmax = [], torch.Tensor.softmax
    monkeypatch.setattr(torch.Tensor, "softmax", lambda self, dim: rows.append(len(self)) or softmax(self, dim))
    with torch.inference_mode():
        BlockedAttention(make_attention())(torch.randn(1, 40, 24))
    assert rows == [16, 16, 8] * 3


def test_replaces_the_attention_of_every_block_in_place(make_vit):
    model, images = make_vit(reg_tokens=2), torch.randn(2, 3, 24, 40, generator=torch.Generator().manual_seed(1))
    request = FeatureRequest(token_blocks=(2,), last_qk=True)
    before = forward_features(model, images, request)
    use_blocked_attention(model)
    assert [type(block.attn) for block in model.blocks] == [BlockedAttention] * 2
    for old, new in zip(before, forward_features(model, images, request), strict=True):
        torch.testing.assert_close(new.patch_tokens[2], old.patch_tokens[2])
        torch.testing.assert_close(new.cls_attention, old.cls_attention)


def test_other_kinds_of_attention_are_left_as_they_are(make_vit):
    class Other(Attention):
        pass

    model = make_vit()
    model.blocks[0].attn.__class__ = Other
    use_blocked_attention(model)
    assert [type(block.attn) for block in model.blocks] == [Other, BlockedAttention]
