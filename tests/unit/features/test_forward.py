import math

import pytest
import torch
from timm.layers.pos_embed import resample_abs_pos_embed

from maskdistill.config import FeatureConfig
from maskdistill.errors import ConfigError, ShapeError
from maskdistill.features.backbone import load_backbone
from maskdistill.features.families import resample_positions
from maskdistill.features.forward import PROJECTIONS, FeatureRequest, compile_blocks, forward_features, run_blocks

EVERYTHING = FeatureRequest(token_blocks=(1, 2), cls_blocks=(1, 2), last_qk=True)


def pixels(height=32, width=32, batch=2):
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def last_qkv(model, images):
    """(3, heads, B, N, d) of the last block, straight from the weights of its linear layer."""
    x = model.norm_pre(model._pos_embed(model.patch_embed(images)))
    for block in model.blocks[:-1]:
        x = block(x)
    block = model.blocks[-1]
    heads, dim = block.attn.num_heads, x.shape[-1]
    size = dim // heads
    weight, bias = block.attn.qkv.weight, block.attn.qkv.bias
    x = block.norm1(x)
    out = torch.empty(3, heads, *x.shape[:2], size)
    for part in range(3):
        for head in range(heads):
            rows = slice(part * dim + head * size, part * dim + (head + 1) * size)
            out[part, head] = x @ weight[rows].T + bias[rows]
    return out


@pytest.mark.parametrize("reg_tokens", [0, 4])
def test_tokens_equal_those_of_the_model(make_vit, reg_tokens):
    model, images = make_vit(reg_tokens=reg_tokens), pixels()
    expected = model.forward_features(images)
    for i, features in enumerate(forward_features(model, images, EVERYTHING)):
        assert features.grid == (8, 8)
        torch.testing.assert_close(features.cls_tokens[2], expected[i, 0])
        torch.testing.assert_close(features.patch_tokens[2], expected[i, 1 + reg_tokens :])


@pytest.mark.parametrize(("height", "width"), [(16, 48), (48, 16), (40, 44)])
def test_tokens_equal_those_of_the_model_at_another_size(make_vit, height, width):
    model, images = make_vit(), pixels(height, width, batch=1)
    features = forward_features(model, images, FeatureRequest(token_blocks=(2,)))[0]
    assert features.grid == (height // 4, width // 4)
    torch.testing.assert_close(features.patch_tokens[2], model.forward_features(images)[0, 1:])


@pytest.mark.parametrize("options", [{"no_embed_class": True, "reg_tokens": 2}, {"pos_embed": "none"}, {"pre_norm": 1}])
def test_tokens_equal_those_of_other_kinds_of_vit(make_vit, options):
    model, images = make_vit(**options), pixels(24, 40, batch=1)
    features = forward_features(model, images, FeatureRequest(token_blocks=(2,)))[0]
    expected = model.forward_features(images)[0, model.num_prefix_tokens :]
    torch.testing.assert_close(features.patch_tokens[2], expected)


def test_model_of_a_fixed_size_is_read_at_it(make_vit):
    model, images = make_vit(dynamic_img_size=False), pixels(batch=1)
    features = forward_features(model, images, FeatureRequest(token_blocks=(2,)))[0]
    torch.testing.assert_close(features.patch_tokens[2], model.forward_features(images)[0, 1:])


def test_tokens_of_an_earlier_block_go_through_the_final_norm(make_vit):
    model, images = make_vit(), pixels(batch=1)
    x = model.norm_pre(model._pos_embed(model.patch_embed(images)))
    expected = model.norm(model.blocks[0](x))[0]
    features = forward_features(model, images, EVERYTHING)[0]
    torch.testing.assert_close(features.patch_tokens[1], expected[1:])
    torch.testing.assert_close(features.cls_tokens[1], expected[0])


@pytest.mark.parametrize("options", [{"reg_tokens": 3}, {"qk_norm": True}])
def test_attention_keys_and_query_equal_a_slow_loop(make_vit, options):
    model, images = make_vit(**options), pixels(20, 28)
    attn = model.blocks[-1].attn
    queries, keys, _ = last_qkv(model, images)
    queries, keys = attn.q_norm(queries), attn.k_norm(keys)
    skip = model.num_prefix_tokens
    for i, features in enumerate(forward_features(model, images, FeatureRequest(last_qk=True))):
        assert features.keys.shape == (2, 35, 16)
        for head in range(2):
            query = queries[head, i, 0]
            logits = [float(query @ key) / math.sqrt(16) for key in keys[head, i]]
            total = sum(math.exp(logit) for logit in logits)
            row = torch.tensor([math.exp(logit) / total for logit in logits])
            torch.testing.assert_close(features.cls_attention[head], row[skip:])
            torch.testing.assert_close(features.keys[head], keys[head, i, skip:])
            torch.testing.assert_close(features.cls_query[head], query)


def test_only_what_was_asked_for_is_returned(make_vit):
    model, images = make_vit(), pixels(batch=1)
    tokens = forward_features(model, images, FeatureRequest(token_blocks=(1,)))[0]
    assert list(tokens.patch_tokens) == [1]
    assert (tokens.cls_tokens, tokens.keys, tokens.cls_query, tokens.cls_attention) == ({}, None, None, None)
    cls = forward_features(model, images, FeatureRequest(cls_blocks=(2,)))[0]
    assert list(cls.cls_tokens) == [2]
    assert (cls.patch_tokens, cls.keys) == ({}, None)
    last = forward_features(model, images, FeatureRequest(last_qk=True))[0]
    assert (last.patch_tokens, last.cls_tokens) == ({}, {})


@pytest.mark.parametrize(
    ("request_", "calls"),
    [(FeatureRequest(token_blocks=(1,)), [1, 0]), (FeatureRequest(cls_blocks=(1,), last_qk=True), [1, 1])],
)
def test_blocks_after_the_last_one_needed_are_not_run(make_vit, request_, calls):
    model, counted = make_vit(), [0, 0]
    for number, block in enumerate(model.blocks):
        block.register_forward_hook(lambda *_, number=number: counted.__setitem__(number, counted[number] + 1))
    forward_features(model, pixels(batch=1), request_)
    assert counted == calls


@pytest.mark.parametrize(("height", "width"), [(33, 32), (32, 30)])
def test_side_that_is_no_whole_number_of_patches_is_refused(make_vit, height, width):
    with pytest.raises(ShapeError, match=rf"4·rows, 4·cols\), got \(1, 3, {height}, {width}\)"):
        forward_features(make_vit(), pixels(height, width, batch=1), EVERYTHING)


def test_no_hook_stays_behind(make_vit):
    model = make_vit()
    forward_features(model, pixels(batch=1), EVERYTHING)
    assert not any(module._forward_hooks for module in model.modules())


def test_no_hook_stays_behind_a_failure(make_vit, monkeypatch):
    model = make_vit()

    def fail(_x):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model.blocks[-1].attn.proj, "forward", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        forward_features(model, pixels(batch=1), EVERYTHING)
    assert not any(module._forward_hooks for module in model.modules())


def test_features_need_no_gradient_and_are_float32(make_vit):
    model = make_vit().to(torch.bfloat16)
    features = forward_features(model, pixels(batch=1), EVERYTHING)[0]
    tensors = [*features.patch_tokens.values(), *features.cls_tokens.values(), features.keys, features.cls_attention]
    assert {tensor.dtype for tensor in tensors} == {torch.float32}
    assert not any(tensor.requires_grad for tensor in tensors)


def test_positions_of_the_same_grid_are_left_alone():
    positions = torch.randn(1, 1 + 12, 5)
    assert resample_positions(positions, 1, (3, 4), (3, 4), antialias=True) is positions


@pytest.mark.parametrize("antialias", [True, False])
def test_positions_keep_rows_and_columns_apart(antialias):
    """A grid that grows along the rows only must do so after resampling to another shape."""
    grid = torch.arange(4.0).view(4, 1, 1).expand(4, 6, 1).reshape(1, 24, 1)
    positions = torch.cat([torch.full((1, 2, 1), 9.0), grid], dim=1)
    resampled = resample_positions(positions, 2, (4, 6), (7, 3), antialias=antialias)
    assert resampled.shape == (1, 2 + 21, 1)
    assert resampled[0, :2, 0].tolist() == [9, 9]
    rows = resampled[0, 2:, 0].view(7, 3)
    torch.testing.assert_close(rows, rows[:, :1].expand(7, 3))
    assert (rows[1:, 0] > rows[:-1, 0]).all()


@pytest.mark.parametrize("new", [(9, 4), (3, 3)])
def test_positions_with_antialiasing_are_timms(new):
    positions = torch.randn(1, 1 + 36, 5, generator=torch.Generator().manual_seed(0))
    expected = resample_abs_pos_embed(positions, list(new), [6, 6], num_prefix_tokens=1, antialias=True)
    torch.testing.assert_close(resample_positions(positions, 1, (6, 6), new, antialias=True), expected)


@pytest.mark.parametrize("options", [{"reg_tokens": 3}, {"qk_norm": True}])
def test_projections_equal_a_slow_loop(make_vit, options):
    model, images = make_vit(**options), pixels(20, 28)
    attn = model.blocks[-1].attn
    parts = dict(zip(PROJECTIONS, last_qkv(model, images), strict=True))
    parts["queries"], parts["keys"] = attn.q_norm(parts["queries"]), attn.k_norm(parts["keys"])
    request = FeatureRequest(projections=tuple((kind, 2) for kind in PROJECTIONS))
    for i, features in enumerate(forward_features(model, images, request)):
        assert (features.keys, features.patch_tokens) == (None, {})
        for kind in PROJECTIONS:
            expected = parts[kind][:, i, model.num_prefix_tokens :]
            torch.testing.assert_close(features.projections[kind, 2], expected)


def test_projections_of_the_last_block_are_its_keys(make_vit):
    request = FeatureRequest(last_qk=True, projections=(("keys", 2), ("values", 1)))
    features = forward_features(make_vit(), pixels(batch=1), request)[0]
    assert set(features.projections) == {("keys", 2), ("values", 1)}
    torch.testing.assert_close(features.projections["keys", 2], features.keys)


def test_requests_are_joined_and_taken_from_each_other():
    one = FeatureRequest(token_blocks=(2, 1), last_qk=True)
    other = FeatureRequest(token_blocks=(2,), cls_blocks=(1,), projections=(("keys", 2),))
    both = one.joined(other)
    assert both == FeatureRequest(token_blocks=(1, 2), cls_blocks=(1,), last_qk=True, projections=(("keys", 2),))
    assert both.without(one) == FeatureRequest(cls_blocks=(1,), projections=(("keys", 2),))
    assert both.without(both) == FeatureRequest()


def test_compiled_blocks_give_the_same_features_at_every_size(make_vit):
    model = make_vit()
    request = FeatureRequest(token_blocks=(1, len(model.blocks)), last_qk=True)
    run = compile_blocks(model, backend="eager")
    for size in ((4, 6), (6, 5)):
        images = pixels(*(side * model.patch_embed.patch_size[0] for side in size), batch=1)
        ours, wanted = (forward_features(model, images, request, run=item)[0] for item in (run, run_blocks))
        torch.testing.assert_close(ours.patch_tokens, wanted.patch_tokens)
        torch.testing.assert_close(ours.keys, wanted.keys)


def test_what_cannot_be_compiled_is_said_before_any_photo(make_vit, monkeypatch, tiny_weights):
    def fail(*_args, **_options):
        raise RuntimeError("no C++ compiler was found")

    monkeypatch.setattr("maskdistill.features.backbone.compile_blocks", lambda model: fail)
    with pytest.raises(ConfigError, match=r"no C\+\+ compiler was found.*runtime=torch"):
        load_backbone(FeatureConfig(**tiny_weights, runtime="compiled"))
