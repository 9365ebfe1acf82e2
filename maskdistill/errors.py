"""The errors this library raises on purpose, one meaning each."""

from collections.abc import Sequence


def printable(text: object) -> str:
    """Text that can be stored and shown: a file's name may hold bytes that are no UTF-8, which are written out here."""
    return str(text).encode("utf-8", "backslashreplace").decode()


class MaskDistillError(Exception):
    """Root of every error that a user can act on.

    Example:
        ```python
        import maskdistill as md

        try:
            md.open_source("no-such-folder")
        except md.MaskDistillError as error:
            print(error)
        ```
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class ConfigError(MaskDistillError):
    """A setting has a value that cannot work.

    Example:
        ```python
        import maskdistill as md

        try:
            md.RunConfig().with_overrides(["proposals.tua=0.3"])
        except md.ConfigError as error:
            print(error)  # names the nearest setting
        ```
    """


class ShapeError(MaskDistillError):
    """An array has another shape than the function needs."""

    def __init__(self, name: str, wanted: str, got: Sequence[object]) -> None:
        super().__init__(name, wanted, tuple(got))  # as given, so that it survives the way between processes

    def __str__(self) -> str:
        name, wanted, got = self.args
        return f"{name} must have shape {wanted}, got {got}."


class DatasetError(MaskDistillError):
    """A source of photos cannot be opened, or a photo of it cannot be read.

    Example:
        ```python
        import maskdistill as md

        try:
            md.open_source("no-such-folder")
        except md.DatasetError as error:
            print(error)  # what was found, and what to give instead
        ```
    """


class CheckpointError(MaskDistillError):
    """A file of weights is missing, damaged, or made for another model.

    Example:
        ```python
        import maskdistill as md

        try:
            md.load_backbone(md.RunConfig().with_overrides(["features.backbone=no-such-file.safetensors"]).features)
        except (md.CheckpointError, md.ConfigError) as error:
            print(error)
        ```
    """


class RunError(MaskDistillError):
    """A run folder cannot be used as asked.

    Example:
        ```python
        import maskdistill as md

        try:
            md.Run("runs/none").masks()
        except md.RunError as error:
            print(error)
        ```
    """


class OutOfMemoryError(RunError):
    """The work needs more memory than there is."""


class JobError(MaskDistillError):
    """A background job cannot be started, stopped or found."""
