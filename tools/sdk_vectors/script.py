"""Plays a transcript of the feed to the cache of the Python SDK, and writes down what the cache did."""

import base64
import json
from collections.abc import Callable
from math import inf
from typing import Any
from unittest import mock

from authsvc_sdk import clock
from authsvc_sdk.answers import INACTIVE, Active
from authsvc_sdk.cache import Cache, key_digest
from authsvc_sdk.config import Config
from authsvc_sdk.feed import BrokenFeed, Feed

from tools.sdk_vectors.shapes import TOKEN, user

START = 1000.0
_SETTINGS: dict[str, Any] = {
    "client_id": "backend",
    "cache_size": 8,
    "cache_max_age_s": 300.0,
    "feed_silence_s": 2.0,
    "serve_stale_for_s": 0.0,
}


class Script:
    """One transcript. Each method adds a step at the present time, which `wait` moves forward."""

    def __init__(self, **settings: float) -> None:
        self.settings = {**_SETTINGS, **settings}
        self.steps: list[dict[str, Any]] = []
        self.now = START
        config = Config(url="http://auth", client_secret="secret", cache=True, **self.settings)  # noqa: S106  # made up
        self._cache = Cache(config)
        self._silence_s = config.feed_silence_s
        self._feed: Feed | None = None
        self._questions: list[tuple[str, int]] = []

    def wait(self, seconds: float) -> None:
        self.now = round(self.now + seconds, 6)

    def open(self) -> None:
        """Request a stream."""
        self._step("open")
        self._feed = Feed(self._cache, self.now, self._silence_s)

    def end(self) -> None:
        """The stream ends, whatever the cause."""
        self._step("end")
        self._feed = None
        self._cache.disconnect()

    def receive(self, chunk: str | bytes, times: int = 1) -> None:
        """A chunk arrives, so many times in a row."""
        text = {"text": chunk} if isinstance(chunk, str) else {"base64": base64.b64encode(chunk).decode()}
        step = self._step("receive", **text, times=times, broken=False)
        raw = chunk.encode() if isinstance(chunk, str) else chunk
        assert self._feed is not None  # a transcript begins with `open`
        try:
            self._feed.receive(raw * times)
        except BrokenFeed:
            step["broken"] = True
            self._feed = None
            self._cache.disconnect()

    def ask(self, token: str = TOKEN) -> None:
        """Send a question about the token to the service."""
        self._step("ask", token=token)
        self._questions.append((token, self._cache.mark()))

    def answer(
        self, active: bool = True, sub: str = "ada", client_id: str = "app", until: float = inf, exp: float = inf
    ) -> None:
        """The answer to the oldest question arrives. Times are the SDK's: when to ask again, and the token's end."""
        token, mark = self._questions.pop(0)
        finite = {name: None if value == inf else value for name, value in {"until": until, "exp": exp}.items()}
        self._step("answer", token=token, active=active, sub=sub, client_id=client_id, **finite)
        self._cache.keep(token, user(token, sub, client_id) if active else INACTIVE, mark, until, exp)

    def keep(self, token: str = TOKEN, **fields: Any) -> None:
        """Ask, and get the answer at once."""
        self.ask(token)
        self.answer(**fields)

    def check(self, token: str = TOKEN) -> None:
        """Look into the cache: for a check of a token, and during an outage."""
        self._step(
            "check", token=token, cached=_name(self._cache.get(token)), stale=_name(self._cache.get_stale(token))
        )

    def _step(self, do: str, **fields: Any) -> dict[str, Any]:
        step = {"at": self.now, "do": do, **fields}
        self.steps.append(step)
        return step

    # Short forms.

    def everything(self, at: float = 7) -> None:
        self.receive(event("everything", {"at": at * 1000}))

    def heartbeat(self, at: float = 7) -> None:
        self.receive(event("heartbeat", {"at": at * 1000}))

    def forget(self, *keys: str) -> None:
        self.receive(event("forget", [key_digest(key) for key in keys]))

    def begin(self) -> None:
        """A stream whose cache holds one confirmed answer."""
        self.open()
        self.everything()
        self.keep()
        self.heartbeat()
        self.check()


def event(name: str, data: object) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def play(name: str, write: Callable[[Script], None], **settings: float) -> dict[str, Any]:
    """The transcript that this function writes."""
    script = Script(**settings)
    with mock.patch.object(clock, "now", side_effect=lambda: script.now):
        write(script)
    return {"name": name, "settings": script.settings, "steps": script.steps}


def _name(answer: object) -> str | None:
    return "active" if isinstance(answer, Active) else "inactive" if answer is INACTIVE else None
