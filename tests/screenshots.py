"""Pictures of the pages for the README, from a real run of the demo: `make screenshots`, or with its seconds."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("spend", "operations", "anomalies", "plans", "live", "models")
PATIENCE_MS = 180_000
WIDE, NARROW = {"width": 1100, "height": 760}, {"width": 390, "height": 800}


@contextmanager
def demo(seconds: float) -> Iterator[str]:
    """A demo on a terminal of its own, up to where it prints its addresses; ends it as Ctrl-C does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it, as its children
    ours, theirs = pty.openpty()
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-m", "metercast.command", "demo", "--data", data, "--seconds", str(seconds)]
        child = subprocess.Popen(command, stdout=theirs, env=os.environ | {"COLUMNS": "250"})
        os.close(theirs)
        said = b""
        try:
            while not (found := re.search(rb"Dashboard +(http\S+)", said)):
                said += _more(ours)
            yield found[1].decode()
        finally:
            child.send_signal(signal.SIGINT)
            child.wait(60)


def _more(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:
        sys.exit("the demo ended before it showed its addresses; `metercast demo` says why")


def main() -> None:
    """Write docs/NAME.png for every page, and the first one dark and on a telephone."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no chromium on this machine; install the package chromium")
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 90.0
    with demo(seconds) as address, sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        parts = urlsplit(address)
        for name in PAGES:
            page = browser.new_page(viewport=WIDE)
            page.set_default_timeout(PATIENCE_MS)
            page.goto(parts._replace(path="/" if name == "spend" else f"/{name}").geturl())
            page.wait_for_timeout(4_000 if name == "live" else 200)
            page.screenshot(path=DOCS / f"{name}.png")
            page.close()
        for name, viewport, scheme in (("spend-dark", WIDE, "dark"), ("spend-phone", NARROW, "light")):
            page = browser.new_page(viewport=viewport, color_scheme=scheme)
            page.set_default_timeout(PATIENCE_MS)
            page.goto(parts.geturl())
            page.screenshot(path=DOCS / f"{name}.png")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
