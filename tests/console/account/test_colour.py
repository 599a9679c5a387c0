"""The application's colour in shades that can be read."""

from hypothesis import given
from hypothesis import strategies as st

from authsvc.console.account.brand import DARK, LIGHT
from authsvc.console.account.colour import CONTROL, TEXT, _parsed, contrast, shades

_COLOURS = st.binary(min_size=3, max_size=3).map(lambda raw: "#" + raw.hex())


@given(_COLOURS, st.sampled_from([LIGHT, DARK]))
def test_every_colour_can_be_read(colour: str, background: str) -> None:
    """Whatever the colour is, text on it, text in it and its edge have the contrast of WCAG 2.2 AA."""
    fill, on_fill, link = map(_parsed, shades(colour, background))
    assert contrast(fill, on_fill) >= TEXT
    assert contrast(link, _parsed(background)) >= TEXT
    assert contrast(fill, _parsed(background)) >= CONTROL


def test_a_colour_that_can_be_read_stays() -> None:
    """A colour with enough contrast is used as it is."""
    assert shades("#2F4BC0", LIGHT) == ("#2f4bc0", "#ffffff", "#2f4bc0")
