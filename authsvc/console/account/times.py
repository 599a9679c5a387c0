"""Times in words of the account pages, so that they are translated too."""

from markupsafe import Markup

from authsvc.console.account.texts import Texts
from authsvc.console.words import exact, iso

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_UNITS = ((_DAY, "days"), (_HOUR, "hours"), (_MINUTE, "minutes"))
# After so many days, the date says more.
_MOST_DAYS = 30


def when(t: Texts, at: float, now: float) -> Markup:
    """The time by its distance from now. The exact time is shown when the pointer rests on it."""
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso(at), exact(at), in_words(t, at, now))


def in_words(t: Texts, at: float, now: float) -> str:
    """A time such as `5 min ago` or `in 2 days`; its date if it is far."""
    distance = abs(now - at)
    if distance >= _MOST_DAYS * _DAY:
        return iso(at).partition("T")[0]
    for size, unit in _UNITS:
        if distance >= size:
            count = int(distance // size)
            return t(f"time.{unit}" if at <= now else f"time.in_{unit}", count=count)
    return t("time.now")
