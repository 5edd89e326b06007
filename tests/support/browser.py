"""A headless Chromium that tests drive by the DevTools protocol, with real keys and real files."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

_TIMEOUT: Final = 60.0  # seconds
_KEYS: Final = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}  # codes
_TEXTS: Final = {"Enter": "\r", " ": " "}

# The texts that stand out from what is behind them by less than 4.5, which WCAG 2 asks for.
_FAINT: Final = """(() => {
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = colour => {
    probe.clearRect(0, 0, 1, 1); probe.fillStyle = colour; probe.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = probe.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map(i => top[3] * top[i] + (1 - top[3]) * below[i]);
  const luminance = colour => {
    const [r, g, b] = colour.map(c => c / 255)
      .map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const behind = element => element
    ? over(rgba(getComputedStyle(element).backgroundColor), behind(element.parentElement)) : [255, 255, 255];
  const faint = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text || !element.getClientRects().length || element.matches(":disabled")) continue;
    const style = getComputedStyle(element), below = behind(element);
    const ink = over(rgba(element instanceof SVGElement ? style.fill : style.color), below);
    const [dark, light] = [luminance(ink), luminance(below)].sort((a, b) => a - b);
    if ((light + .05) / (dark + .05) < 4.5) faint.push(text.slice(0, 60));
  }
  return faint;
})()"""


class Browser:
    """One page of a browser; a context manager.

    Example:
        with Browser(chromium) as browser:
            browser.open("http://localhost:8501/", width=390)
            browser.press("Tab")
            assert browser.complaints == []
    """

    def __init__(self, chromium: Path) -> None:
        self.complaints: list[str] = []  # what the page's console and the browser's log hold, errors alone
        self.requested: list[str] = []  # the addresses that were asked for
        self._profile = tempfile.mkdtemp()
        self._sent = 0
        self._session: str | None = None
        self._buffer = b""
        to_chromium, self._write = os.pipe()
        self._read, from_chromium = os.pipe()
        # Chromium takes its orders from descriptor 3, and answers on 4.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_chromium, from_chromium)]
        self._process = subprocess.Popen(
            [
                chromium, "--headless", "--no-sandbox", "--no-first-run", "--disable-gpu", "--disable-sync",
                "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-pipe",
                f"--user-data-dir={self._profile}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(3, 4),
            preexec_fn=lambda: [os.dup2(end, place) for place, end in enumerate(ends, start=3)] and None,
        )  # fmt: skip
        for end in (to_chromium, from_chromium, *ends):
            os.close(end)

    def __enter__(self) -> Browser:
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(_TIMEOUT)
        os.close(self._write)
        os.close(self._read)
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, url: str, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Load a page, even if it is open already, and wait until it is loaded.

        Args:
            url: its address.
            width: of the window, pixels.
            height: of the window, pixels.
            dark: whether its user likes it dark.
        """
        self.complaints, self.requested = [], []
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression, or what its promise comes to."""
        done = self._call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, condition: str) -> None:
        """Waits until a JavaScript expression is true."""
        self._until(lambda: bool(self.run(condition)), what=condition)

    def press(self, key: str, *, shift: bool = False) -> None:
        """Presses a key and lets it go: Tab, Enter, Escape or a space."""
        common = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": _KEYS[key]}
        modifiers = {"modifiers": 8 if shift else 0}
        text = {"text": _TEXTS[key]} if key in _TEXTS else {}
        kind = "keyDown" if text else "rawKeyDown"
        self._call("Input.dispatchKeyEvent", type=kind, **common, **modifiers, **text)
        self._call("Input.dispatchKeyEvent", type="keyUp", **common, **modifiers)

    def choose(self, selector: str, files: Sequence[Path]) -> None:
        """Chooses files in an input element, as its dialog would."""
        found = self._call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        self._call("DOM.setFileInputFiles", files=list(map(str, files)), objectId=found["result"]["objectId"])

    @property
    def faint(self) -> list[str]:
        """Texts with too little contrast."""
        texts: list[str] = self.run(_FAINT)
        return texts

    def barriers(self, axe: str) -> list[str]:
        """Rules of axe-core that the page breaks seriously, each with the elements.

        Args:
            axe: its script.
        """
        self.run(f"{axe}; null")
        broken = self.run("axe.run().then(({ violations }) => violations)")
        return [
            f"{rule['id']} ({rule['impact']}): {', '.join(str(node['target']) for node in rule['nodes'])}"
            for rule in broken
            if rule["impact"] in ("serious", "critical")
        ]

    @property
    def needed_width(self) -> int:
        """The pixels across that the page needs."""
        return int(self.run("document.documentElement.scrollWidth"))

    def screenshot(self, file: Path) -> None:
        """Writes the whole page as a PNG."""
        shot = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self) -> bytes:
        """The page as a printer gets it."""
        return base64.b64decode(self._call("Page.printToPDF")["data"])

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        answers: list[dict[str, Any]] = []

        def answered() -> bool:
            message = self._receive()
            if message.get("id") == self._sent:
                answers.append(message)
            return bool(answers)

        self._until(answered, what=method)
        assert "error" not in answers[0], (method, answers[0]["error"])
        result: dict[str, Any] = answers[0]["result"]
        return result

    def _receive(self) -> dict[str, Any]:
        """The next message; an event is taken note of."""
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], _TIMEOUT)
            data = os.read(self._read, 1 << 20) if ready else b""
            assert data, "the browser went away"
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        parameters = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.complaints.append(str(parameters["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "warning", "assert"):
                self.complaints.append(str(parameters["args"]))
            case "Log.entryAdded" if parameters["entry"]["level"] in ("error", "warning"):
                self.complaints.append(parameters["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requested.append(parameters["request"]["url"])
        return message

    def _until(self, condition: Callable[[], bool], *, what: str) -> None:
        end = time.monotonic() + _TIMEOUT
        while not condition():
            assert time.monotonic() < end, f"waited too long for {what}"
            time.sleep(0.01)
