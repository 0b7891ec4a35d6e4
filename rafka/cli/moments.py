"""Points in time, as the operator writes them: ISO 8601, or how long ago."""

import re
import time
from datetime import UTC, datetime

import click

MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
AGE = re.compile(r"(\d{1,9})([smhd])", re.ASCII)


def read_moment(_ctx: click.Context, _param: click.Parameter, text: str | None) -> int | None:
    """Return ms since 1970 of an ISO 8601 time, UTC without a zone, or of an age: 90s, 15m, 2h, 7d.

    Raises a usage error.
    """
    if text is None:
        return None
    if age := AGE.fullmatch(text):
        return time.time_ns() // 1_000_000 - int(age[1]) * MS[age[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is neither a time such as 2026-03-01T12:00:00Z nor an age such as 15m"
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)
