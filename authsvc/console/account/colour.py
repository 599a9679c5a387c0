"""The application's colour on the account pages, in shades that can be seen and read in light and in dark."""

from typing import Final, NamedTuple

Rgb = tuple[int, int, int]

_WHITE: Final[Rgb] = (255, 255, 255)
_BLACK: Final[Rgb] = (0, 0, 0)
# The least contrast of text and of controls (WCAG 2.2, criteria 1.4.3 and 1.4.11).
TEXT: Final = 4.5
CONTROL: Final = 3.0
_STEPS: Final = 20


class Shades(NamedTuple):
    """Colours as CSS writes them. fill, on_fill: of a button and its text. link: of text on the background."""

    fill: str
    on_fill: str
    link: str


def shades(colour: str, background: str) -> Shades:
    """The shades of a colour such as `#3355cc` on a background. Each moves away from it until the contrast suffices."""
    rgb, behind = _parsed(colour), _parsed(background)
    fill = _seen(rgb, behind, CONTROL)
    on_fill = max((_WHITE, _BLACK), key=lambda text: contrast(fill, text))
    return Shades(_written(fill), _written(on_fill), _written(_seen(rgb, behind, TEXT)))


def contrast(one: Rgb, other: Rgb) -> float:
    """The contrast of two colours, from 1 to 21 (WCAG 2.2)."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _seen(colour: Rgb, background: Rgb, least: float) -> Rgb:
    """The shade nearest to the colour that has this contrast to the background."""
    away = max((_WHITE, _BLACK), key=lambda end: contrast(background, end))
    steps = (_mixed(colour, away, step / _STEPS) for step in range(_STEPS))
    return next((shade for shade in steps if contrast(shade, background) >= least), away)


def _mixed(one: Rgb, other: Rgb, share: float) -> Rgb:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _luminance(colour: Rgb) -> float:
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (part / 255 for part in colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _parsed(colour: str) -> Rgb:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def _written(colour: Rgb) -> str:
    return "#" + bytes(colour).hex()
