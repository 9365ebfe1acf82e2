"""Presets as TOML files: values that differ from the defaults, by section."""
