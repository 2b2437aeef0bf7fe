"""The pages in a real browser: no errors, nothing from elsewhere, live updates, accessibility, narrow screens."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from features.sqlite_log import connect
from serving.alerts.anomaly import Anomaly
from serving.alerts.store import write
from serving.api.app import create_app
from serving.dashboard.rendering import PAGES
from serving.settings import Settings
from tests.serving.conftest import PLANS, some_usage
from tests.serving.dashboard.test_pages import period

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")]
KIND = {"Content-Type": "application/vnd.metercast.batch+json"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on a socket, with half a minute of usage and one anomaly."""
    settings = Settings(data=tmp_path_factory.mktemp("data"), plans=PLANS, windows_s=(1, 10, 60), lateness_s=0.0)
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    place = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    send(place, 1)
    now_ns = time.time_ns()
    usual = (90.0, 100.0, 110.0)
    found = Anomaly(
        "a1", "acme", "checkout", "NETWORK_SEND", "network_bytes", now_ns, now_ns, None, 30.0, 400.0, usual,
        cost=Decimal("1.25"), currency="USD",
    )  # fmt: skip
    connection = connect(settings.database)
    write(connection, found)
    connection.close()
    time.sleep(0.5)
    yield place
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for all tests."""
    with playwright.sync_playwright() as tool:
        chromium = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def tab(browser: Any, url: str) -> Iterator[Any]:
    """A tab that collects errors of scripts, of the policy, and requests to other hosts."""
    page = browser.new_page(base_url=url)
    page.troubles = []
    page.on("console", lambda said: page.troubles.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.on("request", lambda asked: page.troubles.append(asked.url) if not asked.url.startswith(url) else None)
    yield page
    page.close()


def send(url: str, sequence: int, seconds: int = 30) -> None:
    """Usage of the last seconds as a batch."""
    body = {"producer": "browser", "epoch": 1, "sequence": sequence, "events": some_usage(seconds=seconds)}
    assert httpx.post(f"{url}/v1/events", json=body, headers=KIND).status_code == 202


def address(path: str) -> str:
    """A page about a period that can be forecast."""
    return f"{path}?{httpx.QueryParams(period())}"


@pytest.mark.parametrize("path", [path for path, _ in PAGES] + ["/docs", "/login"])
def test_page_loads_clean_and_accessible(tab: Any, path: str) -> None:
    """No console errors, no request to another host, and no serious finding of axe, in light and in dark."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        tab.goto(address(path))
        found = axe.Axe().run(tab).response["violations"]
        serious = [
            (one["id"], [node["html"][:120] for node in one["nodes"]])
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert not serious, serious
    assert tab.troubles == []


@pytest.mark.parametrize("path", [path for path, _ in PAGES])
def test_page_fits_a_telephone(browser: Any, url: str, path: str) -> None:
    """At 360 px nothing makes the page itself scroll sideways."""
    page = browser.new_page(base_url=url, viewport={"width": 360, "height": 740})
    page.goto(address(path))
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.close()


def test_choosing_another_plan_shows_its_numbers(tab: Any) -> None:
    """The form sends itself; the sentence changes with the plan."""
    tab.goto(address("/"))
    before = tab.inner_text("h1")
    with tab.expect_navigation():
        tab.select_option("select[name=plan]", "per-request")
    assert tab.inner_text("h1") != before
    assert "plan=per-request" in tab.url


def test_what_if_changes_the_numbers(tab: Any, url: str) -> None:
    """Five times the usage to come shows another expected bill."""
    send(url, 1_000)  # what the fixture sent may be too long ago for anything to be expected
    tab.wait_for_timeout(1_000)
    tab.goto(address("/plans"))
    before = tab.inner_text("tbody tr:first-child td:nth-child(2)")
    tab.fill("input[name=factor]", "5")
    with tab.expect_navigation():
        tab.click("text=What if")
    assert tab.inner_text("tbody tr:first-child td:nth-child(2)") != before


def test_windows_arrive_on_the_live_page(tab: Any, url: str) -> None:
    """A window that closes while the page is open shows its operations and a bar."""
    tab.goto("/live")
    tab.wait_for_selector("#live-state:not(:has-text('Connecting'))")
    for sequence in range(2, 12):
        now = [one | {"timestamp": time.time() + 0.2} for one in some_usage(("acme",), 1)]
        body = {"producer": "browser", "epoch": 1, "sequence": sequence, "events": now}
        assert httpx.post(f"{url}/v1/events", json=body, headers=KIND).status_code == 202
        tab.wait_for_timeout(500)
    tab.wait_for_selector("table[data-live] tbody tr")
    assert "checkout" in tab.inner_text("table[data-live]")
    assert tab.locator("#live-chart rect").count() >= 1
    assert tab.troubles == []


def test_verdict_is_kept(tab: Any) -> None:
    """Pressing a verdict keeps it over a reload."""
    tab.goto("/anomalies?user=acme")
    tab.click("button[value=useful]")
    tab.wait_for_selector("text=Kept, thank you.")
    tab.reload()
    assert tab.get_attribute("button[value=useful]", "aria-pressed") == "true"


def test_scripts_stay_small() -> None:
    """All scripts together are under 60 kB."""
    static = Path(__file__).parents[3] / "serving" / "dashboard" / "static"
    assert sum(path.stat().st_size for path in static.glob("*.js")) < 60_000


def test_keyboard_reaches_the_content_first(tab: Any) -> None:
    """The first stop of the tabulator key is a link that skips the navigation."""
    tab.goto("/operations")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
