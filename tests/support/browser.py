"""Debian's chromium without a window, driven over its DevTools protocol: what a person would see, type and press."""

import base64
import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from websockets.sync.client import connect

_PATIENCE = 60  # seconds: two cores may be busy with other tests


def chromium():
    """Return the browser's path, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One tab. `problems` gathers what the page complains of: console errors, exceptions, requests that it makes."""

    def __init__(self, socket):
        self._socket = socket
        self._number = 0
        self._session = None
        self.problems = []
        self.requests = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        """Call a method of the protocol and return its result."""
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params, **session}))
        while True:
            message = json.loads(self._socket.recv(timeout=_PATIENCE))
            if message.get("id") == self._number:
                assert "error" not in message, (method, message)
                return message["result"]
            self._note(message)

    def _note(self, message):
        params = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.problems.append(params["exceptionDetails"])
            case "Runtime.consoleAPICalled" if params["type"] in {"error", "warning", "assert"}:
                self.problems.append(params["args"])
            case "Log.entryAdded" if params["entry"]["level"] in {"error", "warning"}:
                self.problems.append(params["entry"])
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])

    def show(self, path, width=1280, height=900, scheme="light"):
        """Open a file at a width in CSS pixels and a colour scheme, and wait until it has run."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.scheme(scheme)
        self.call("Page.navigate", url=Path(path).absolute().as_uri())
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def scheme(self, name):
        """Prefer light or dark colours, and no motion: a page that still scrolls is missed by a click."""
        preferred = {"prefers-color-scheme": name, "prefers-reduced-motion": "reduce"}
        features = [{"name": feature, "value": value} for feature, value in preferred.items()]
        self.call("Emulation.setEmulatedMedia", features=features)

    def value(self, expression):
        """Return what an expression is worth on the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression):
        """Wait until an expression is true on the page."""
        end = time.monotonic() + _PATIENCE
        while not self.value(expression):
            assert time.monotonic() < end, f"never came true: {expression}"
            time.sleep(0.05)

    def text(self, selector):
        """Return the text that an element shows."""
        return self.value(f"document.querySelector({json.dumps(selector)}).innerText")

    def type(self, text):
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key, code=None):
        """Press a key, such as Enter, ArrowDown or Tab."""
        number = {"Enter": 13, "Tab": 9, "Escape": 27, "ArrowUp": 38, "ArrowDown": 40}[key]
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=number)

    def click(self, x, y):
        """Move the pointer to a place of the window, and click."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self, whole=True):
        """Return a PNG of the page."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(found["data"])


@contextmanager
def browsing(folder):
    """Run chromium with its files in a folder; it has ended when the block has."""
    folder = Path(folder)
    arguments = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
        "--no-first-run", "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank",
    ]  # fmt: skip
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen([chromium(), *arguments], stdout=log, stderr=subprocess.STDOUT)
        try:
            with connect(_address(folder, process), max_size=None, open_timeout=_PATIENCE) as socket:
                yield Browser(socket)
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(folder, process):
    """Wait for the file in which chromium says where it listens."""
    told = folder / "DevToolsActivePort"
    end = time.monotonic() + _PATIENCE
    while not (told.exists() and len(told.read_text().split("\n")) == 2):
        assert process.poll() is None, (folder / "chromium.log").read_text(errors="replace")
        assert time.monotonic() < end, "chromium did not say where it listens"
        time.sleep(0.05)
    port, path = told.read_text().split("\n")
    return f"ws://127.0.0.1:{port}{path}"
