"""Options and kinds of values that several commands share."""

import re

import click

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts; of a list, one object a line.")
yes = click.option("--yes", "-y", is_flag=True, help="Don't ask.")

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    """90s, 15m, 24h, 7d: into seconds."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", value)
    if match is None:
        raise click.BadParameter("a number and one of s, m, h, d, such as 24h")
    return int(match[1]) * _UNITS[match[2]]


def event(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """An event of the audit trail, or the word before its dot."""
    from authsvc.core.event import Event  # help and completion need no events

    kinds = {name.partition(".")[0] for name in Event}
    if value is None or value in kinds or value in set(Event):
        return value
    raise click.BadParameter(f"no such event. The kinds: {', '.join(sorted(kinds))}. The events: {', '.join(Event)}")


def ttl(_context: click.Context, _option: click.Parameter, value: str | None) -> int | str | None:
    """Seconds, or `default`, which stays that word."""
    if value is None or value == "default":
        return value
    if not re.fullmatch(r"[0-9]{1,11}", value):
        raise click.BadParameter("a number of seconds, or `default`")
    return int(value)
