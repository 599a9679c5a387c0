"""Chromium without a screen, driven by the Chrome DevTools Protocol, with authenticators in software."""

import json
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from tests.processes import until

BINARY = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
_ANSWERS_WITHIN_S = 60
_STARTS_WITHIN_S = 60


class Page:
    """One tab. Calls of the protocol are made in turn. events: those that came meanwhile."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._id = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._id += 1
        self._connection.send(json.dumps({"id": self._id, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=_ANSWERS_WITHIN_S))
            if message.get("id") == self._id:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result
            self.events.append(message)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        until(lambda: self.run(f"location.href === {json.dumps(url)} && document.readyState === 'complete'"), 30)

    def loads(self, script: str) -> None:
        """Run a script that leaves the page, such as a click, and wait for the page that follows."""
        self.run("window.isLeft = true")
        self.run(script)
        until(lambda: self.run("!window.isLeft && document.readyState === 'complete'"), 30)

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Save a picture. whole: of the whole page, and not only of the window."""
        form = path.suffix.removeprefix(".")
        quality = {"quality": 85} if form == "webp" else {}
        taken = self.call("Page.captureScreenshot", format=form, captureBeyondViewport=whole, **quality)
        path.write_bytes(b64decode(taken["data"]))

    def resize(self, width: int, height: int = 800, *, phone: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)

    def prefer(self, scheme: str) -> None:
        """Prefer a light or a dark page, as the system's settings do."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def run(self, script: str) -> Any:
        """The value of a script. A promise is awaited. Fails if the script throws."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def add_authenticator(self, *, synced: bool = False) -> str:
        """An authenticator as it is built into a phone, whose user always consents."""
        options: dict[str, Any] = {
            "protocol": "ctap2",
            "ctap2Version": "ctap2_1",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
            "defaultBackupEligibility": synced,
            "defaultBackupState": synced,
        }
        made: str = self.call("WebAuthn.addVirtualAuthenticator", options=options)["authenticatorId"]
        return made

    def credentials(self, authenticator: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("WebAuthn.getCredentials", authenticatorId=authenticator)["credentials"]
        return found


@contextmanager
def browser(directory: Path) -> Iterator[Page]:
    """A new browser with one tab. Its data are in the directory."""
    assert BINARY is not None
    arguments = ["--headless=new", "--remote-debugging-port=0", f"--user-data-dir={directory}", "--no-first-run"]
    # Containers run as root, and their /dev/shm is small. The pages are our own.
    arguments += ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "about:blank"]
    process = subprocess.Popen([BINARY, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port_file = directory / "DevToolsActivePort"
        until(lambda: port_file.exists() and port_file.read_text().count("\n") == 1, _STARTS_WITHIN_S)
        port = port_file.read_text().split("\n")[0]
        made = httpx.put(f"http://127.0.0.1:{port}/json/new?about:blank", timeout=30).json()
        with connect(made["webSocketDebuggerUrl"], max_size=None) as connection:
            page = Page(connection)
            page.call("Page.enable")
            page.call("WebAuthn.enable", enableUI=False)
            yield page
    finally:
        process.kill()
        process.wait()
