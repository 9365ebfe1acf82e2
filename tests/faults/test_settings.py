"""Settings of any value: read, or refused by an error that names the setting."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from maskdistill.config import RunConfig, flatten, setting_names
from maskdistill.config.parsing import unknown_name
from maskdistill.errors import ConfigError

NAMES = st.sampled_from(setting_names())
MORE = settings(max_examples=5 * settings.default.max_examples)  # each draws the setting's name as well
SECTIONS = sorted({name.partition(".")[0] for name in setting_names()})
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def changed(name, value):
    """The default settings as plain values, one of them another."""
    values = RunConfig().to_dict()
    section, _, leaf = name.rpartition(".")
    (values[section] if section else values)[leaf] = value
    return values


@MORE
@given(name=NAMES, value=ANY_JSON)
@example(name="proposals.tau", value=10**400)
@example(name="seed", value=10**400)
def test_value_of_a_config_file_is_taken_or_refused_by_name(name, value):
    try:
        config = RunConfig.from_dict(changed(name, value))
    except ConfigError as error:
        assert name in str(error)
    else:
        assert RunConfig.from_dict(config.to_dict()) == config
        assert flatten(config.to_dict())[name] == (list(value) if isinstance(value, tuple) else value)


@MORE
@given(
    name=NAMES, text=st.text(max_size=30) | ANY_JSON.map(str) | st.sampled_from(["nan", "NaN", "-Infinity", "1e999"])
)
@example(name="seed", text="1" * 5000)  # more digits than Python reads
@example(name="proposals.tau", text="1" * 400)
@example(name="proposals.blocks", text="[" * 5000)
def test_text_of_the_command_line_is_taken_or_refused_by_name(name, text):
    try:
        config = RunConfig().with_overrides([f"{name}={text}"])
    except ConfigError as error:
        assert name in str(error)
    else:
        assert RunConfig.from_dict(config.to_dict()) == config


@given(value=ANY_JSON, section=st.sampled_from(SECTIONS))
def test_section_of_any_value_is_taken_or_refused_by_name(value, section):
    try:
        RunConfig.from_dict({section: value})
    except ConfigError as error:
        assert section in str(error)


@given(value=ANY_JSON)
def test_whole_file_of_any_value_is_taken_or_refused(value):
    try:
        RunConfig.from_dict(value)
    except ConfigError as error:
        assert str(error)


@given(name=st.text(max_size=40))
def test_unknown_names_are_answered_with_those_there_are(name):
    assert "There are" in (said := unknown_name(name, setting_names())) or "Did you mean" in said
