"""Draws the dashboard from the data of a real Prometheus: `python -m tools.picture` writes docs/metrics/dashboard.svg.

Some minutes of made-up traffic: a calm, many guesses at passwords, a calm, the store killed, and started again.
"""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from authsvc.ops.binary import find_binary
from tools.prometheus import Panel, Prometheus, panels, running
from tools.traffic import Traffic

PICTURE = Path(__file__).parent.parent / "docs" / "metrics" / "dashboard.svg"
# The events of the picture, and the second at which each begins.
GUESSES, CALM_AGAIN, KILLED, BACK, END = 40, 70, 90, 180, 210
COLUMNS, WIDTH, HEIGHT, GAP = 3, 400, 190, 16
INK, FAINT, FAULT = "#1f2933", "#e3e8ec", "#f4d9d6"
COLOURS = ("#2f6f9f", "#c05640", "#4d8b57", "#8a63a8", "#b98b1e", "#4b9a9a", "#7a7f87", "#b24f83", "#6b8e23", "#a0522d")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="authsvc-picture-") as name:
        directory = Path(name)
        port, metrics_port = _free_port(), _free_port()
        store = _store(directory)
        with (
            _service(directory, port, metrics_port) as (url, admin),
            running(directory, _free_port(), f"127.0.0.1:{metrics_port}") as prometheus,
        ):
            began = time.time()
            traffic = Traffic(url, admin)
            with traffic.flowing():
                _wait_until(began + GUESSES)
                traffic.guesses, traffic.logins = 20.0, 8.0
                _wait_until(began + CALM_AGAIN)
                traffic.guesses, traffic.logins = 0.5, 4.0
                _wait_until(began + KILLED)
                store.kill()
                store.wait()
                _wait_until(began + BACK - 1)
                fired = prometheus.firing()
                store = _store(directory)
                _wait_until(began + END)
            PICTURE.parent.mkdir(exist_ok=True)
            PICTURE.write_text(drawn(prometheus, began, began + END, fired))
        store.terminate()
        store.wait()
    print(f"{PICTURE.relative_to(Path.cwd())}; fired: {', '.join(sorted(fired))}")  # noqa: T201


def drawn(prometheus: Prometheus, begin: float, end: float, fired: set[str]) -> str:
    """All panels, and the alerts that fired while the store was away."""
    shown = panels()
    rows = -(-len(shown) // COLUMNS)
    width, top = COLUMNS * (WIDTH + GAP) + GAP, 64
    height = top + rows * (HEIGHT + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" aria-label="The dashboard" font-family="system-ui, sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{GAP}" y="26" font-size="15" font-weight="600" fill="{INK}">The dashboard under load: passwords '
        f"guessed from {GUESSES} to {CALM_AGAIN} s; the store killed at {KILLED} s, back at {BACK} s</text>",
        f'<text x="{GAP}" y="46" fill="#5b6770">Firing before it came back: {escape(", ".join(sorted(fired)))}</text>',
    ]
    for number, panel in enumerate(shown):
        x, y = GAP + number % COLUMNS * (WIDTH + GAP), top + number // COLUMNS * (HEIGHT + GAP)
        parts += _panel(panel, prometheus, begin, end, x, y)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, prometheus: Prometheus, begin: float, end: float, x: int, y: int) -> list[str]:
    lines: list[tuple[str, list[tuple[float, float]]]] = []
    for expression, legend in panel.targets:
        for series in prometheus.range(expression, begin, end):
            points = [(float(at), float(value)) for at, value in series["values"] if value not in ("NaN", "+Inf")]
            if points:
                lines.append((_named(legend, series["metric"]), points))
    # A line that was always 0 is drawn without a name.
    lines.sort(key=lambda line: -max(value for _, value in line[1]))
    most = max([value for _, points in lines for _, value in points], default=0) or 1
    left, bottom, room, rise = x + 46, y + HEIGHT - 42, WIDTH - 54, HEIGHT - 74

    def at(moment: float, value: float) -> str:
        return f"{left + (moment - begin) / (end - begin) * room:.1f} {bottom - value / most * rise:.1f}"

    hurt = [left + moment / END * room for moment in (KILLED, BACK)]
    parts = [
        f'<text x="{x}" y="{y + 14}" font-size="12" font-weight="600" fill="{INK}">{escape(panel.title)}</text>',
        f'<rect x="{hurt[0]:.1f}" y="{bottom - rise}" width="{hurt[1] - hurt[0]:.1f}" height="{rise}" fill="{FAULT}"/>',
    ]
    for share in (0, 0.5, 1):
        level = bottom - share * rise
        parts += [
            f'<path d="M{left} {level:.1f}h{room}" stroke="{FAINT}"/>',
            f'<text x="{left - 6}" y="{level + 4:.1f}" text-anchor="end" fill="#5b6770">'
            f"{_quantity(share * most, panel.unit)}</text>",
        ]
    named = [line for line in lines if any(value for _, value in line[1])][:6]
    for number, (_, points) in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        parts += [
            f'<path d="M{"L".join(at(*p) for p in run)}" stroke="{colour}" fill="none"/>' for run in _runs(points)
        ]
    for number, (name, _) in enumerate(named):
        lx, ly = left + number % 3 * room // 3, bottom + 14 + number // 3 * 14
        parts += [
            f'<rect x="{lx}" y="{ly - 8}" width="8" height="8" fill="{COLOURS[number % len(COLOURS)]}"/>',
            f'<text x="{lx + 11}" y="{ly}" fill="{INK}">{escape(name)}</text>',
        ]
    return parts


def _runs(points: list[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    """The parts of a line without a gap."""
    run = points[:1]
    for before, point in pairwise(points):
        if point[0] - before[0] > 1.5:
            yield run
            run = []
        run.append(point)
    yield run


def _named(legend: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda label: labels.get(label[1], ""), legend)


def _quantity(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        return f"{1000 * value:.3g} ms" if value < 1 else f"{value:.3g} s"
    return f"{value:.3g}"


def _wait_until(moment: float) -> None:
    time.sleep(max(0, moment - time.time()))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _store(directory: Path) -> "subprocess.Popen[bytes]":
    place = ["--port", "0", "--unixsocket", str(directory / "store.sock"), "--dir", str(directory)]
    command = [find_binary(), *place, "--appendonly", "yes", "--save", ""]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - it is Valkey


@contextmanager
def _service(directory: Path, port: int, metrics_port: int) -> Iterator[tuple[str, tuple[str, str]]]:
    environment: dict[str, Any] = dict(os.environ) | {
        "AUTHSVC_TRUSTED_PROXIES": "127.0.0.1",
        "AUTHSVC_PORT": str(port), "AUTHSVC_METRICS_PORT": str(metrics_port), "AUTHSVC_WORKERS": "2",
        "AUTHSVC_REDIS_URL": f"unix://{directory / 'store.sock'}",
    }  # fmt: skip
    output = directory / "authsvc.out"
    with output.open("wb") as out, (directory / "authsvc.log").open("wb") as log:
        program = Path(sys.executable).with_name("authsvc")
        process = subprocess.Popen([program, "serve"], env=environment, stdout=out, stderr=log)  # noqa: S603 - it is ours
    url = f"http://127.0.0.1:{port}"
    try:
        give_up_at = time.monotonic() + 60
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError((directory / "authsvc.log").read_text())
            time.sleep(0.1)
        told = re.search(r"client_id +(\S+)\n +client_secret +(\S+)", output.read_text())
        if told is None:
            raise RuntimeError("it has been started before")
        yield url, (told[1], told[2])
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    main()
