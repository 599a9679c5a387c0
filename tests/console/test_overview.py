"""The words of events, the bars of the chart, and what the checks find."""

import pytest
import redis

from authsvc.console.admin.chart import BASE, Count, bars
from authsvc.console.admin.words_of_events import in_words
from authsvc.core.event import Event
from tests.console.conftest import Browser
from tests.selection import one_in


@pytest.mark.parametrize("event", one_in(4, Event))
def test_every_event_has_words(event: Event) -> None:
    """An event is a sentence, without the name that programs know."""
    text = in_words(event)
    assert text[0].isupper()
    assert "." not in text
    assert "_" not in text


def test_bars_fit() -> None:
    """The largest bar fills the chart, and a count of 1 can be seen beside it."""
    made = bars([Count("a", 0, 0), Count("b", 1, 0), Count("c", 900, 100)])
    assert made[0].good_height == 0
    assert made[1].good_height >= 2
    assert 0 <= made[2].bad_y < made[2].good_y < BASE


async def test_the_labels_of_the_chart_are_text(browser: Browser) -> None:
    """Text in the picture would shrink with it on a phone."""
    page = await browser.get("/")
    assert "24 hours ago now" in page.text
    assert "<text" not in page.answer.text


async def test_findings_stand_there_with_their_remedy(browser: Browser, valkey: "redis.Redis") -> None:
    """What `authsvc check` finds about settings and store stands on the overview, until it is mended."""
    page = await browser.get("/")
    assert "issuer : not set" in page.text
    assert "set AUTHSVC_ISSUER to the public https:// URL" in page.text
    assert "eviction" not in page.text
    valkey.config_set("maxmemory-policy", "allkeys-lru")
    try:
        page = await browser.get("/")
    finally:
        valkey.config_set("maxmemory-policy", "noeviction")
    assert "fail eviction : allkeys-lru: it drops users and cut-offs" in page.text
    assert page.text.index("eviction :") < page.text.index("issuer :"), "what failed comes first"
    assert "set maxmemory-policy noeviction" in page.text
