"""The words of events, and the bars of the chart."""

import pytest

from authsvc.console.admin.chart import BASE, Count, bars
from authsvc.console.admin.words_of_events import in_words
from authsvc.core.event import Event


@pytest.mark.parametrize("event", Event)
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
