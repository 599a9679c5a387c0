"""`authsvc serve --settings`: every setting, made from the model."""

import click
from pydantic.fields import FieldInfo

from authsvc.cli.layout import wrapped
from authsvc.cli.output import width
from authsvc.settings import PREFIX, Settings

_INDENT = "    "


def show_settings() -> None:
    """Print each variable with its default, and below it what it is for."""
    for name, field in Settings.model_fields.items():
        default = _written(field)
        click.echo(f"{PREFIX}{name.upper()}{f'={default}' if default else ''}")
        for line in wrapped(field.description or "", width() - len(_INDENT)):
            click.echo(f"{_INDENT}{line}")


def _written(field: FieldInfo) -> str:
    """The default as the variable would have it. Empty: there is none."""
    value = field.default
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
