"""The demo's steps in order: platform, shop, load, fault, training, estimates."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from metercast.client import Client

import serving
from serving.demo.feed import LiveFeed
from serving.demo.load import CUSTOMERS, Load
from serving.demo.processes import Child, ChildError, Children, metercast, wait_until
from serving.demo.report import overhead_of, totals_of
from serving.demo.screen import Screen

ROOT = Path(serving.__file__).resolve().parents[1]
SHOP = ROOT / "profiler" / "examples" / "shop" / "server.py"
PLANS = ("micro-operations", "per-request")
FAULT_SHARE = 0.2
PERIOD_S = 300
LEAST_AHEAD_S = 90


@dataclass(frozen=True, slots=True)
class Options:
    """Where the demo keeps its data, how many seconds it collects before it trains, and whether it stays up after."""

    data: Path
    seconds: float = 90.0
    config: Path = ROOT / "configs" / "train" / "demo.yaml"
    stays: bool = False


@dataclass(slots=True)
class Running:
    """What has been started."""

    api: Client
    feed: LiveFeed
    load: Load
    began_s: float
    switch: Client


def run(options: Options, children: Children, screen: Screen) -> tuple[dict[str, Any], str]:
    """Do the job; returns the document of the report and the platform's URL. Raises ChildError when a part fails."""
    screen.stage("Starting the platform and the shop")
    running = _start(options, children)
    fault = _collect(options, running, screen)
    screen.stage("Training Markov and LSTM, backtesting, promoting the best")
    training = _train(options, children, running, screen)
    screen.stage("Pricing the projection under two plans")
    document = _answer(running, training, fault)
    if not options.stays:  # otherwise customers go on clicking: the pages are about what happens now
        running.load.stop()
    running.feed.close()
    return document, running.api.url


def _start(options: Options, children: Children) -> Running:
    plans = str(ROOT / "configs" / "plans")
    arguments = ("serve", "--data", str(options.data), "--port", "0", "--plans", plans, "--json")
    server = children.start("platform", metercast(*arguments))
    api = Client(json.loads(server.first_line())["url"])
    feed = LiveFeed(api)
    feed.start()
    shop_data = options.data / "shop"
    spool = {"METERCAST_SPOOL": str(options.data / "spool"), "METERCAST_USER_HEADER": "X-Customer"}
    command = metercast("run", "--user", "shop", "--to", api.url, "--", str(SHOP), "--directory", str(shop_data))
    shop = children.start("shop", command, spool)
    port = int(shop.first_line())
    load = Load(port)
    load.start()
    return Running(api, feed, load, time.time(), Client(f"http://127.0.0.1:{port}"))


def _collect(options: Options, running: Running, screen: Screen) -> dict[str, Any]:
    """Let the customers click; half-way the payment service is overloaded for a while, and the shop retries."""
    screen.stage("Metering the shop under load", options.seconds)
    starts, ends = options.seconds * 0.5, options.seconds * (0.5 + FAULT_SHARE)
    on = off = ""
    while (spent := time.time() - running.began_s) < options.seconds:
        if not on and spent >= starts:
            on = _now()
            running.switch.post("/admin/overload", {"on": True})
        if on and not off and spent >= ends:
            running.switch.post("/admin/overload", {"on": False})
            off = _now()
        counts = running.load.counts
        note = f"{counts.answered} requests" + (", payment service overloaded" if on and not off else "")
        screen.advance(spent, note, running.feed)
        time.sleep(0.25)
    return {"what": "payment service overloaded, checkout retries", "operation": "checkout", "on": on, "off": off}


def _train(options: Options, children: Children, running: Running, screen: Screen) -> dict[str, Any]:
    """Train in a process of its own while customers go on, until the server has picked the champion up."""
    command = metercast("train", str(options.config), "--data", str(options.data), "--json")
    child: Child = children.start("train", command)
    while child.is_running():
        screen.advance(0.5, f"{running.load.counts.answered} requests", running.feed)
        time.sleep(0.25)
    document: dict[str, Any] = json.loads(child.output())
    champion = document["champion"]
    if champion is None:
        raise ChildError(f"{options.config} promotes no model; set promote: true")

    def is_picked_up() -> bool:
        found = running.api.get("/v1/models/champion")["champion"]
        return found is not None and found["version"] == champion["version"]

    wait_until(is_picked_up, 20, "the server to pick the champion up")
    return document


def _answer(running: Running, training: dict[str, Any], fault: dict[str, Any]) -> dict[str, Any]:
    start = datetime.fromtimestamp(int(running.began_s) - 5, UTC)
    # Where training took long, the period is longer: there must be something left to project.
    end = datetime.fromtimestamp(max(int(running.began_s) + PERIOD_S, int(time.time()) + LEAST_AHEAD_S), UTC)
    period = {"period_start": start.isoformat(), "period_end": end.isoformat()}
    users = [customer.name for customer in CUSTOMERS]
    estimates = [running.api.post("/v1/estimates", {"user": user, "plans": list(PLANS), **period}) for user in users]
    operations = running.api.get("/v1/operations")["operations"]
    return {
        "users": users,
        "period": {"start": start.isoformat(), "end": end.isoformat()},
        "measured": {
            "requests_answered": running.load.counts.answered,
            "requests_failed": running.load.counts.failed,
            "events_in_windows": sum(row["events"] for row in operations),
        },
        "spend_so_far": totals_of(estimates),
        "estimates": estimates,
        "fault": fault,
        "anomalies": running.api.get("/v1/anomalies", start=start.isoformat())["anomalies"],
        "training": training,
        "profiler": overhead_of(operations),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat()
