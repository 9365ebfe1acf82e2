"""Features compared on drawn photos with a tiny transformer of random weights."""

import json

import numpy as np
import pytest
from tiny_run import draw_voc, tiny_config

from maskdistill.cli.main import main
from maskdistill.cli.probe_features import describe_probe
from maskdistill.datasets import open_source
from maskdistill.errors import ConfigError
from maskdistill.features.backbone import Backbone, load_backbone
from maskdistill.stages import feature_probe
from maskdistill.stages.feature_probe import KINDS, SETTINGS, ClusterRow, MaskRow, probe_features


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Six drawn photos probed in both blocks, and how often the transformer was asked."""
    folder = tmp_path_factory.mktemp("probe")
    source = open_source(draw_voc(folder / "voc", 6, 0))
    config = tiny_config(folder)
    return source, config, load_backbone(config.features), folder


@pytest.fixture(scope="module")
def result(made):
    source, config, backbone, folder = made
    return probe_features(source, backbone, config, folder / "out", blocks=(1, 2), quiet=True)


def test_every_kind_and_block_has_a_row_and_the_best_score_comes_first(result):
    rows = {(row.kind, row.blocks) for row in result.masks}
    assert rows >= {(kind, (block,)) for kind in KINDS for block in (1, 2)}
    assert [row.kind for row in result.masks].count(SETTINGS) == 1
    scores = [row.score for row in result.masks]
    assert scores == sorted(scores, reverse=True)
    assert result.num_photos == result.num_labelled == 6
    assert all(0 <= value <= 1 for row in result.masks for value in (row.corloc, row.best_iou, row.agreement))
    assert set(result.correlation) == set(feature_probe.MEASURES)


def test_settings_row_equals_the_row_of_its_feature(made, result):
    """Tokens of the last block, which is what these settings take, seen twice."""
    rows = {(row.kind, row.blocks): row for row in result.masks}
    own, same = rows[SETTINGS, (2,)], rows["tokens", (2,)]
    assert (own.score, own.agreement, own.corloc) == (same.score, same.agreement, same.corloc)


def test_clusters_are_compared_by_every_vector(result):
    names = {row.name for row in result.clusters}
    assert names == {
        f"{what}" for b in (1, 2) for what in (f"CLS {b}", f"patches {b} of the crop", f"patches {b} of the photo")
    }
    assert all(row.same_class is not None for row in result.clusters)
    shares = [row.neighbours for row in result.clusters]
    assert shares == sorted(shares, reverse=True)


def test_started_again_it_reads_no_photo_and_says_the_same(made, result, monkeypatch):
    source, config, backbone, folder = made
    monkeypatch.setattr(Backbone, "forward", lambda *_: pytest.fail("The transformer was asked again."))
    again = probe_features(source, backbone, config, folder / "out", blocks=(1, 2), quiet=True)
    assert again == result
    written = json.loads((folder / "out" / "probe.json").read_text())
    assert len(written["masks"]) == len(result.masks)


def test_other_settings_are_measured_anew(made, result, monkeypatch):
    source, config, backbone, folder = made
    asked = []
    forward = Backbone.forward
    monkeypatch.setattr(Backbone, "forward", lambda self, *args: asked.append(1) or forward(self, *args))
    other = config.with_overrides(["proposals.tau=0.5", "embeddings.mirror=false"])
    probe_features(source.limited(2), backbone, other, folder / "other", blocks=(2,), kinds=("keys",), quiet=True)
    # For each photo: itself and its mirror image, however many rows there are, and the crop of its mask.
    assert len(asked) == 2 * 3


def test_photo_that_cannot_be_read_is_named(made, tmp_path):
    _, config, backbone, _ = made
    broken = draw_voc(tmp_path / "voc", 5, 0)
    opened = open_source(broken)
    (broken / "JPEGImages" / "03.png").write_bytes(b"gone")
    found = probe_features(opened, backbone, config, tmp_path / "out", blocks=(2,), kinds=("tokens",), quiet=True)
    assert found.num_photos == 4
    assert [photo for photo, _ in found.left_out] == ["03"]
    assert "Left out: 03." in describe_probe(found, "tiny", "photos")


@pytest.mark.parametrize(
    ("change", "blocks", "match"),
    [("proposals.engine=published", (2,), "engine=ncut"), ("seed=0", (7,), "has blocks 1 to 2, got 7")],
)
def test_what_cannot_be_compared_is_refused(made, tmp_path, change, blocks, match):
    source, config, backbone, _ = made
    with pytest.raises(ConfigError, match=match):
        probe_features(source, backbone, config.with_overrides([change]), tmp_path, blocks=blocks, quiet=True)


def row(kind, score, blocks=(2,)):
    return MaskRow(kind, blocks, score, 0.5, 0.5, 0.5, 0.5, 1.0, None, None)


@pytest.mark.parametrize(
    ("score", "expected"), [(0.8, ("proposals.feature=keys", "proposals.blocks=[2]")), (0.605, ())]
)
def test_advice_is_given_only_where_the_score_is_plainly_higher(score, expected):
    now = row(SETTINGS, 0.6)
    assert feature_probe._advise([row("keys", score), now], now, []) == expected


def test_advice_on_clusters_names_the_best_blocks_of_cls():
    now = row(SETTINGS, 0.6)
    clusters = [ClusterRow(name, 0.5, None) for name in ("patches 9 of the crop", "CLS 11", "CLS 9", "CLS 10", "CLS 7")]
    assert feature_probe._advise([now], now, clusters) == ("embeddings.blocks=[9, 10, 11]",)


def test_command_prints_both_tables(made, tmp_path, capsys):
    source, config, _, _ = made
    features = config.features
    sets = [f"features.{name}={getattr(features, name)}" for name in ("architecture", "precision", "device")]
    sets.append("proposals.tau=0.9")  # random weights find all patches alike
    arguments = ["probe-features", "--data", str(source.root), "--backbone", features.backbone, "--limit", "5"]
    arguments += [
        part for value in (*sets, "features.shorter_side=32", "embeddings.crop_side=32") for part in ("--set", value)
    ]
    assert main([*arguments, "--blocks", "0", "--kinds", "tokens", "values", "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "Rank correlation with CorLoc" in printed
    assert sum(line.startswith(("tokens", "values")) for line in printed.splitlines()) == 4
    assert "CLS 2" in printed


def test_measures_of_a_photo_without_mask_are_zero():
    assert feature_probe._numbers(None, None)[:-1] == [0.0] * len(feature_probe.MEASURES)
    labels = np.zeros((4, 4), np.uint8)
    labels[1:3, 1:3] = 1
    assert feature_probe._numbers(None, labels)[-1] == 0.0
    assert np.isnan(feature_probe._numbers(None, None)[-1])
