import dataclasses
import json
import math

import pytest

from maskdistill.config import (
    ClusterConfig,
    CrfConfig,
    FeatureConfig,
    ProposalConfig,
    RunConfig,
    TrainConfig,
    describe_setting,
    describe_settings,
    load_preset,
    section_names,
    setting_names,
)
from maskdistill.config.settings import Interval
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
        ("proposals.num_objects=auto", "proposals", "num_objects", "auto"),
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
        ("proposals.num_objects=2.5", r"proposals\.num_objects must be int or auto, got 2\.5"),
        ("proposals.num_objects=true", r"proposals\.num_objects must be int or auto, got True"),
        ("proposals.smooth=yes", r"proposals\.smooth wants bool, got 'yes'"),
        ("proposals.smooth=1", r"proposals\.smooth must be bool, got 1"),
        ("proposals.engine=fast", r"proposals\.engine must be one of ncut, published, got 'fast'"),
        ("proposals.blocks=9.5", r"proposals\.blocks must be a list of whole numbers, got \[9\.5\]"),
        ("proposals.blocks=last", r"proposals\.blocks wants a list of whole numbers, got 'last'"),
        ("proposals.tau=NaN", r"proposals\.tau must be in \[-1, 1\], got nan"),
    ],
)
def test_bad_override_says_what_is_wrong(assignment, message):
    with pytest.raises(ConfigError, match=message):
        RunConfig().with_overrides([assignment])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: FeatureConfig(shorter_side=27),
            r"features\.shorter_side must be 0 \(the backbone's default\) or in \[28, 2048\] pixels, got 27",
        ),
        (lambda: FeatureConfig(shorter_side=2049), r"features\.shorter_side"),
        (lambda: FeatureConfig(shorter_side=-1), r"features\.shorter_side"),
        (lambda: ProposalConfig(num_objects=0), r"proposals\.num_objects must be auto or in \[1, 10\], got 0"),
        (lambda: ProposalConfig(num_objects=11), r"proposals\.num_objects"),
        (
            lambda: ProposalConfig(num_objects="many"),
            r"proposals\.num_objects must be auto or in \[1, 10\], got 'many'",
        ),
        (lambda: ProposalConfig(tau=1.01), r"proposals\.tau must be in \[-1, 1\], got 1\.01"),
        (lambda: ProposalConfig(min_piece=-0.1), r"proposals\.min_piece must be in \[0, 1\]"),
        (lambda: ProposalConfig(min_area=2), r"proposals\.min_area"),
        (lambda: ProposalConfig(max_overlap=2), r"proposals\.max_overlap"),
        (lambda: ProposalConfig(refine_steps=-1), r"proposals\.refine_steps"),
        (lambda: ProposalConfig(num_heads=0), r"proposals\.num_heads"),
        (lambda: ProposalConfig(topk=0), r"proposals\.topk must be in \(0, 1\], got 0\."),
        (lambda: ProposalConfig(mass=1.5), r"proposals\.mass"),
        (lambda: CrfConfig(iterations=0), r"crf\.iterations must be in \[1, 100\]"),
        (lambda: CrfConfig(max_pixels=999), r"crf\.max_pixels must be 0 \(no limit\) or at least 1000 pixels, got 999"),
        (lambda: ProposalConfig(view_scale=0.2), r"proposals\.view_scale must be in \[0\.25, 2\]"),
        (lambda: CrfConfig(min_agreement=1.5), r"crf\.min_agreement"),
        (lambda: CrfConfig(bilateral_sigma_xy=0), r"crf\.bilateral_sigma_xy must be in \[0\.1, 1000\] pixels, got 0"),
        (lambda: CrfConfig(gaussian_weight=-1), r"crf\.gaussian_weight must be in \[0, 1000\], got -1"),
        (lambda: TrainConfig(dropout=1), r"dropout must be in \[0, 1\), got 1\."),
        (lambda: TrainConfig(milestones=(3, 0)), r"milestones must be in \[1, 100000\], got 0"),
        (lambda: ClusterConfig(num_classes=1), r"clusters\.num_classes must be 0 \(suggest\) or in \[2, 254\], got 1"),
        (
            lambda: ClusterConfig(num_classes=5, overcluster=4),
            r"overcluster must be 0 or at least num_classes \(5\), got 4",
        ),
        (lambda: RunConfig(seed=-1), r"seed must be in \[0, 4294967295\], got -1"),
    ],
)
def test_value_out_of_range_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_limits_themselves_are_allowed():
    assert FeatureConfig(shorter_side=28).shorter_side == 28
    assert FeatureConfig(shorter_side=2048).shorter_side == 2048
    assert ProposalConfig(num_objects=10, tau=-1, min_piece=0, min_area=1, topk=1, mass=1).num_objects == 10
    assert ProposalConfig(topk=1e-9).topk == 1e-9
    assert (FeatureConfig(shorter_side=0).shorter_side, CrfConfig(max_pixels=0).max_pixels) == (0, 0)


@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_two_sections_of_one_dataclass_are_told_apart(stage):
    with pytest.raises(ConfigError, match=rf"^{stage}\.epochs must be in \[1, 100000\], got 0\.$"):
        RunConfig().with_overrides([f"{stage}.epochs=0"])


@pytest.mark.parametrize(
    ("text", "inside", "outside", "words"),
    [
        ("[0, 1]", (0, 0.5, 1), (-0.1, 1.1, math.nan, math.inf), "in [0, 1]"),
        ("(0, 1]", (1e-12, 1), (0, -1, 2), "in (0, 1]"),
        ("[0, 1)", (0, 0.999), (1, -1), "in [0, 1)"),
        ("[-1, 1000000]", (-1, 0, 1_000_000), (-2, 1_000_001), "in [-1, 1000000]"),
        ("[3, inf)", (3, 10**9), (2, math.inf), "at least 3"),
        ("(0, inf)", (0.1,), (0,), "above 0"),
    ],
)
def test_interval(text, inside, outside, words):
    interval = Interval.parse(text)
    assert str(interval) == words
    assert all(value in interval for value in inside)
    assert not any(value in interval for value in outside)


def test_interval_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"written as \[0, 1\] or \(0, 1\], got '0\.\.1'"):
        Interval.parse("0..1")


class TestDescriptions:
    SETTINGS = tuple(setting for section in ("", *section_names()) for setting in describe_settings(section))

    def test_every_setting_is_described(self):
        assert [setting.full_name for setting in self.SETTINGS] == list(setting_names())

    @pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.full_name)
    def test_description(self, setting):
        assert 10 < len(setting.help) < 180
        assert 1 < len(setting.label) < 45
        assert "\n" not in setting.help
        assert not setting.help.endswith(".")
        assert isinstance(setting.default, setting.type) or setting.default == setting.word
        assert (setting.within is None) == (setting.type not in (int, float) and setting.name != "milestones")
        assert not setting.choices or setting.default in setting.choices
        setting.check(setting.default, setting.full_name)

    def test_every_section_has_few_basic_settings(self):
        for section in section_names():
            assert 1 <= sum(not setting.advanced for setting in describe_settings(section)) <= 6, section

    def test_values(self):
        rate = next(setting for setting in self.SETTINGS if setting.full_name == "stage1.learning_rate")
        assert (rate.type, rate.default, rate.step, rate.advanced) == (float, 1e-3, 0.001, False)
        assert (rate.label, rate.allowed, rate.choices) == ("Learning rate", "in [0, 100]", ())
        model = next(setting for setting in self.SETTINGS if setting.full_name == "stage2.model")
        assert (model.type, model.choices) == (str, ("patch_head", "mask_rcnn", "deeplabv3"))
        assert model.allowed == "one of patch_head, mask_rcnn, deeplabv3"
        side = next(setting for setting in self.SETTINGS if setting.name == "shorter_side")
        assert (side.label, side.step, side.slider_ends(0)) == ("Shorter side (pixels)", 1, (0, 2048))
        blocks = describe_setting("proposals.blocks")
        assert (blocks.type, blocks.slider_ends(0), blocks.allowed) == (tuple, None, "")

    def test_slider_covers_what_is_worth_trying_and_the_value(self):
        pixels = describe_setting("crf.max_pixels")
        assert pixels.slider_ends(120_000) is None
        assert pixels.slider_ends(120_000, usual=True) == (0, 1_000_000)
        tau = describe_setting("proposals.tau")
        assert [tau.slider_ends(value, usual=True) for value in (0.2, 0.9)] == [(-0.2, 0.8), (-0.2, 0.9)]
        share = describe_setting("filter.keep_share")
        assert [share.slider_ends(value) for value in (1, 0.001)] == [(0.01, 1), (0.001, 1)]

    @pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.full_name)
    def test_default_as_text_is_read_back(self, setting):
        assert RunConfig().with_overrides([f"{setting.full_name}={setting.as_text(setting.default)}"]) == RunConfig()

    def test_unknown_setting_suggests_the_nearest(self):
        with pytest.raises(ConfigError, match=r"No setting 'proposals\.tua'\. Did you mean 'proposals\.tau'\?"):
            describe_setting("proposals.tua")

    def test_defaults_are_those_of_the_section(self):
        defaults = {setting.name: setting.default for setting in describe_settings("stage1")}
        assert defaults == vars(RunConfig().stage1)

    def test_unknown_section_suggests_the_nearest(self):
        with pytest.raises(ConfigError, match=r"No section of settings 'filtr'\. Did you mean 'filter'\?"):
            describe_settings("filtr")


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
    [("auto", 1, False), ("auto", "auto", False), ("auto", 2, True), ("large", 2, False), ("seed", 1, True)],
)
def test_seed_component_only(component, num_objects, expected):
    assert ProposalConfig(component=component, num_objects=num_objects).seed_component_only is expected


def test_number_of_objects_is_to_be_found_unless_the_preset_says_one():
    assert RunConfig().proposals.num_objects == load_preset("quick").proposals.num_objects == "auto"
    changed = load_preset("quick").with_overrides(["proposals.num_objects=3"])
    assert changed.proposals.num_objects == changed.proposals.num_cuts == 3
    assert not changed.proposals.makes_pool
    back = RunConfig.from_dict(changed.to_dict()).with_overrides(["proposals.num_objects=auto"])
    assert back == load_preset("quick")
    assert back.proposals.num_cuts == 1
    assert back.proposals.chooses_from_pool


@pytest.mark.parametrize(
    ("changes", "made", "chosen"),
    [
        ([], True, True),
        (["proposals.pool=off"], False, False),
        (["proposals.num_objects=1"], False, False),
        (["proposals.num_objects=1", "proposals.pool=on"], True, False),
        (["proposals.engine=published"], False, False),
    ],
)
def test_pool_is_made_where_it_is_of_use(changes, made, chosen):
    proposals = load_preset("quick").with_overrides(changes).proposals
    assert (proposals.makes_pool, proposals.chooses_from_pool) == (made, chosen)


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
