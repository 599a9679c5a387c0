"""Bar charts as SVG, without a library."""

from dataclasses import dataclass
from html import escape

_WIDTH, _LEFT, _RIGHT, _BAR, _STEP, _TOP = 760, 230, 110, 22, 36, 64
_OURS, _THEIRS, _INK, _FAINT = "#2f6f9f", "#b9c4cd", "#1f2933", "#e3e8ec"


@dataclass(frozen=True)
class Bar:
    """A median and its spread. ours: draw the bar in the strong colour."""

    label: str
    value: float
    least: float
    most: float
    ours: bool = False


def bars(title: str, note: str, rows: list[Bar], form: str = "{:,.0f}") -> str:
    """Horizontal bars. A line through the end of each bar shows the spread."""
    room = _WIDTH - _LEFT - _RIGHT
    scale = room / max(max(row.most for row in rows), 1e-9)
    height = _TOP + _STEP * len(rows) + 14
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(title)}" font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="16" y="26" font-size="16" font-weight="600" fill="{_INK}">{escape(title)}</text>',
        f'<text x="16" y="46" fill="#5b6770">{escape(note)}</text>',
    ]
    for number, row in enumerate(rows):
        y = _TOP + number * _STEP
        middle, end = y + _BAR / 2, _LEFT + row.value * scale
        least, most = _LEFT + row.least * scale, _LEFT + row.most * scale
        parts += [
            f'<text x="{_LEFT - 10}" y="{middle + 4:.1f}" text-anchor="end" fill="{_INK}">{escape(row.label)}</text>',
            f'<rect x="{_LEFT}" y="{y}" width="{room}" height="{_BAR}" fill="{_FAINT}" opacity="0.45"/>',
            f'<rect x="{_LEFT}" y="{y}" width="{max(end - _LEFT, 1):.1f}" height="{_BAR}" '
            f'fill="{_OURS if row.ours else _THEIRS}"/>',
            f'<path d="M{least:.1f} {middle - 5:.1f}v10M{least:.1f} {middle:.1f}H{most:.1f}M{most:.1f} '
            f'{middle - 5:.1f}v10" stroke="{_INK}" fill="none"/>',
            f'<text x="{_WIDTH - _RIGHT + 10}" y="{middle + 4:.1f}" fill="{_INK}">{form.format(row.value)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
