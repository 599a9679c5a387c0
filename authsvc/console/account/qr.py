"""A QR code as the path of an SVG, so that a page needs neither a script nor a picture from elsewhere."""

from typing import NamedTuple

import segno

# The light border that readers need (ISO/IEC 18004 section 5.3.8).
_BORDER = 4


class Picture(NamedTuple):
    """size: width and height of the view box. path: the dark modules."""

    size: int
    path: str


def picture_of(text: str) -> Picture:
    """The QR code of a text of at most some hundred characters."""
    rows = segno.make(text, micro=False, error="m").matrix
    path = "".join(
        f"M{x + _BORDER} {y + _BORDER}h1v1h-1z" for y, row in enumerate(rows) for x, dark in enumerate(row) if dark
    )
    return Picture(len(rows) + 2 * _BORDER, path)
