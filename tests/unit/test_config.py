import dataclasses
import json

import pytest

from maskdistill.config import (
    CrfConfig,
    FeatureConfig,
    ProposalConfig,
    RunConfig,
    load_preset,
    preset_names,
    setting_names,
)
from maskdistill.errors import ConfigError

OTHER = RunConfig(
    seed=7,
    features=FeatureConfig(backbone="a.pth", architecture="vit", shorter_side=480, fit="pad", precision="float16"),
    proposals=ProposalConfig(engine="published", num_objects=3, blocks=(9, 12), tau=-0.5, smooth=False, topk=1.0),
    crf=CrfConfig(enabled=True, iterations=3, bilateral_sigma_rgb=9.5),
)


@pytest.mark.parametrize("config", [RunConfig(), OTHER], ids=["default", "other"])
def test_comes_back_from_json(config):
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_names_that_are_missing_keep_their_default():
    config = RunConfig.from_dict({"proposals": {"tau": 0.3}})
    assert config == dataclasses.replace(RunConfig(), proposals=ProposalConfig(tau=0.3))
    assert RunConfig.from_dict({}) == RunConfig()


@pytest.mark.parametrize(
    ("assignment", "section", "name", "value"),
    [
        ("proposals.tau=0.35", "proposals", "tau", 0.35),
        ("proposals.tau=-1", "proposals", "tau", -1.0),
        ("proposals.num_objects=3", "proposals", "num_objects", 3),
        ("proposals.engine=published", "proposals", "engine", "published"),
        ("proposals.blocks=9,12", "proposals", "blocks", (9, 12)),
        ("proposals.blocks=9", "proposals", "blocks", (9,)),
        ("proposals.blocks=[9, 12]", "proposals", "blocks", (9, 12)),
        ("proposals.blocks=", "proposals", "blocks", ()),
        ("proposals.smooth=false", "proposals", "smooth", False),
        ("crf.enabled=True", "crf", "enabled", True),
        ("features.backbone=/data/a=b.pth", "features", "backbone", "/data/a=b.pth"),
        (" features.device = cuda:1", "features", "device", "cuda:1"),
        ("features.architecture=", "features", "architecture", ""),
        ("crf.gaussian_weight=2", "crf", "gaussian_weight", 2.0),
    ],
)
def test_override(assignment, section, name, value):
    config = OTHER.with_overrides([assignment])
    expected = dataclasses.replace(getattr(OTHER, section), **{name: value})
    assert config == dataclasses.replace(OTHER, **{section: expected})
    assert type(getattr(getattr(config, section), name)) is type(value)


def test_overrides_apply_in_order_and_leave_the_original():
    config = RunConfig(seed=1)
    changed = config.with_overrides(["seed=5", "proposals.tau=0.1", "seed=6"])
    assert (changed.seed, changed.proposals.tau, config.seed) == (6, 0.1, 1)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("proposals.tua=0.3", r"No setting 'proposals\.tua'\. Did you mean 'proposals\.tau'\?"),
        ("proposal.tau=0.3", r"No setting 'proposal\.tau'\. Did you mean 'proposals\.tau'\?"),
        ("sed=3", r"No setting 'sed'\. Did you mean 'seed'\?"),
        ("colour=red", r"No setting 'colour'\. There are: seed, features\.backbone"),
        ("proposals=3", "No setting 'proposals'"),
        ("proposals.tau.more=3", r"No setting 'proposals\.tau\.more'\. Did you mean 'proposals\.tau'\?"),
        ("seed.tau=3", r"No setting 'seed\.tau'"),
        ("=3", "No setting ''"),
        ("proposals.tau", r"--set wants section\.name=value, got 'proposals\.tau'"),
        ("proposals.tau=much", r"proposals\.tau wants float, got 'much'"),
        ("proposals.tau=", r"proposals\.tau wants float, got ''"),
        ("proposals.tau=true", r"proposals\.tau must be float, got True"),
        ("proposals.num_objects=2.5", r"proposals\.num_objects must be int, got 2\.5"),
        ("proposals.num_objects=true", r"proposals\.num_objects must be int, got True"),
        ("proposals.smooth=yes", r"proposals\.smooth wants bool, got 'yes'"),
        ("proposals.smooth=1", r"proposals\.smooth must be bool, got 1"),
        ("proposals.engine=fast", r"proposals\.engine must be one of ncut, published, got 'fast'"),
        ("proposals.blocks=9.5", r"proposals\.blocks must be a list of whole numbers, got \[9\.5\]"),
        ("proposals.blocks=last", r"proposals\.blocks wants list"),
        ("proposals.tau=NaN", r"proposals\.tau must be in \[-1, 1\], got nan"),
    ],
)
def test_bad_override_says_what_is_wrong(assignment, message):
    with pytest.raises(ConfigError, match=message):
        RunConfig().with_overrides([assignment])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FeatureConfig(shorter_side=27), r"features\.shorter_side must be 0 or in \[28, 2048\] pixels, got 27"),
        (lambda: FeatureConfig(shorter_side=2049), r"features\.shorter_side"),
        (lambda: FeatureConfig(shorter_side=-1), r"features\.shorter_side"),
        (lambda: ProposalConfig(num_objects=0), r"proposals\.num_objects must be in \[1, 10\], got 0"),
        (lambda: ProposalConfig(num_objects=11), r"proposals\.num_objects"),
        (lambda: ProposalConfig(tau=1.01), r"proposals\.tau must be in \[-1, 1\], got 1\.01"),
        (lambda: ProposalConfig(min_piece=-0.1), r"proposals\.min_piece must be in \[0, 1\]"),
        (lambda: ProposalConfig(min_area=2), r"proposals\.min_area"),
        (lambda: ProposalConfig(max_overlap=2), r"proposals\.max_overlap"),
        (lambda: ProposalConfig(refine_steps=-1), r"proposals\.refine_steps"),
        (lambda: ProposalConfig(num_heads=0), r"proposals\.num_heads"),
        (lambda: ProposalConfig(topk=0), r"proposals\.topk must be in \[1e-06, 1\], got 0"),
        (lambda: ProposalConfig(mass=1.5), r"proposals\.mass"),
        (lambda: CrfConfig(iterations=0), r"crf\.iterations must be in \[1, 100\]"),
        (lambda: CrfConfig(max_pixels=999), r"crf\.max_pixels must be 0 .* or at least 1000, got 999"),
        (lambda: ProposalConfig(view_scale=0.2), r"proposals\.view_scale must be in \[0\.25, 1\]"),
        (lambda: CrfConfig(min_agreement=1.5), r"crf\.min_agreement"),
        (lambda: CrfConfig(bilateral_sigma_xy=0), r"crf\.bilateral_sigma_xy must be in \[0\.1, 1000\], got 0"),
    ],
)
def test_value_out_of_range_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_limits_themselves_are_allowed():
    assert FeatureConfig(shorter_side=28).shorter_side == 28
    assert FeatureConfig(shorter_side=2048).shorter_side == 2048
    assert ProposalConfig(num_objects=10, tau=-1, min_piece=0, min_area=1, topk=1, mass=1).num_objects == 10


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"features": {"backbones": "auto"}}, r"No setting 'features\.backbones'\. Did you mean 'features\.backbone'"),
        ({"feature": {}}, "No setting 'feature'"),
        ({"seed": "0"}, "seed must be int, got '0'"),
        ({"seed": None}, "seed must be int, got None"),
        ({"proposals": {"blocks": [True]}}, r"proposals\.blocks must be a list of whole numbers"),
        ({"proposals": {"blocks": 3}}, r"proposals\.blocks must be a list of whole numbers, got 3"),
        ({"features": {"device": 0}}, r"features\.device must be str, got 0"),
    ],
)
def test_damaged_values_are_named(values, message):
    with pytest.raises(ConfigError, match=message):
        RunConfig.from_dict(values)


@pytest.mark.parametrize("value", [None, 3, [], ["tau"]])
def test_section_that_is_no_dict_is_named(value):
    with pytest.raises(ConfigError, match="proposals must be"):
        RunConfig.from_dict({"proposals": value})


def test_whole_number_is_fine_for_a_fraction():
    tau = RunConfig.from_dict({"proposals": {"tau": 0}}).proposals.tau
    assert (tau, type(tau)) == (0.0, float)


@pytest.mark.parametrize(
    ("component", "num_objects", "expected"),
    [("auto", 1, False), ("auto", 2, True), ("large", 2, False), ("seed", 1, True)],
)
def test_seed_piece_only(component, num_objects, expected):
    assert ProposalConfig(component=component, num_objects=num_objects).seed_piece_only is expected


def test_every_preset_loads():
    assert {"quick", "paper-voc"} <= set(preset_names())
    for name in preset_names():
        assert RunConfig.from_dict(load_preset(name).to_dict()) == load_preset(name)


def test_published_preset_has_the_papers_values():
    config = load_preset("paper-voc")
    assert (config.features.shorter_side, config.features.fit) == (640, "pad")
    values = config.proposals
    assert (values.engine, values.num_heads, values.topk, values.mass) == ("published", 5, 0.4, 0.5)


def test_unknown_preset_lists_what_there_is():
    with pytest.raises(ConfigError, match=r"No preset 'fast'\. There are: .*quick"):
        load_preset("fast")


def test_setting_names_are_those_that_overrides_take():
    names = setting_names()
    assert {"seed", "features.backbone", "proposals.tau", "crf.enabled"} <= set(names)
    assert len(names) == len(set(names))
    values = RunConfig().to_dict()
    for name in names:
        section, _, leaf = name.rpartition(".")
        value = values[section][leaf] if section else values[leaf]
        text = value if isinstance(value, str) else json.dumps(value)
        assert RunConfig().with_overrides([f"{name}={text}"]) == RunConfig(), name
