"""Vectors of deadlines: moments of the service's clock, converted to the SDK's own."""

from typing import Any

from authsvc_sdk.server_clock import ServerClock

# Each step is an observed `Date`, or a moment to convert. All times are in seconds.
_STEPS: dict[str, list[dict[str, float]]] = {
    "one answer": [
        {"date": 5000, "received_at": 100},
        {"convert": 5060, "took_s": 0.5},
    ],
    "the largest estimate counts": [
        {"date": 5000, "received_at": 100},
        {"date": 5000, "received_at": 101},
        {"convert": 5060, "took_s": 0},
        {"date": 5003, "received_at": 102},
        {"convert": 5060, "took_s": 0},
    ],
    "the old Date of a server that was stopped": [
        {"date": 500, "received_at": 0},
        {"date": 501, "received_at": 31},
        {"convert": 540, "took_s": 0},
    ],
    "a clock that is set back is believed after ten minutes": [
        {"date": 5000, "received_at": 0},
        {"date": 1300, "received_at": 300},
        {"convert": 1320, "took_s": 0},
        {"date": 1600, "received_at": 600},
        {"convert": 1620, "took_s": 0},
        {"date": 1601, "received_at": 601},
        {"convert": 1620, "took_s": 0},
    ],
}


def deadlines() -> dict[str, Any]:
    """Observed dates, and moments with their conversions."""
    return {"cases": [{"name": name, "steps": _converted(steps)} for name, steps in _STEPS.items()]}


def _converted(steps: list[dict[str, float]]) -> list[dict[str, float]]:
    clock, done = ServerClock(), []
    for step in steps:
        if "date" in step:
            clock.observe(step["date"], step["received_at"])
            done.append(step)
        else:
            done.append(step | {"ours": clock.ours(int(step["convert"]), step["took_s"])})
    return done
