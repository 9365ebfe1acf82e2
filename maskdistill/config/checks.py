"""Checks that settings share."""

from maskdistill.errors import ConfigError


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise ``ConfigError``, naming the setting, if the value lies outside [low, high]."""
    if not low <= value <= high:
        raise ConfigError(f"{name} must be in [{low:g}, {high:g}], got {value:g}.")
