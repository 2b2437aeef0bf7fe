"""`metercast demo`: the whole job on this machine: profile a real service, train, detect, price."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

from rich.console import Console

from serving.demo.job import Options, run
from serving.demo.processes import ChildError, Children
from serving.demo.report import print_report
from serving.demo.screen import Screen


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="metercast demo", description=__doc__)
    parser.add_argument("--data", type=Path, help="keep everything in this directory (default: a new temporary one)")
    parser.add_argument("--seconds", type=float, default=90.0, help="how long to collect before training (>= 30)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--exit", action="store_true", help="end when the report is printed, also on a terminal")
    args = parser.parse_args(argv)
    if not args.seconds >= 30:
        print(f"metercast demo: --seconds {args.seconds:g} is too short to learn from; at least 30", file=sys.stderr)
        return 2
    stays = sys.stdout.isatty() and not args.exit
    data = args.data or Path(tempfile.mkdtemp(prefix="metercast-demo-"))
    try:
        (data / "logs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"metercast demo: {data}: {error.strerror}; give a writable directory", file=sys.stderr)
        return 2
    try:
        with Children(data / "logs") as children:
            with Screen() as screen:
                document, url = run(Options(data, args.seconds, stays=stays), children, screen)
            if args.json:
                print(json.dumps(document, indent=2), flush=True)
            else:
                print_report(document, Console())
            if stays:
                _stay(url, data, document["period"])
    except ChildError as error:
        print(f"metercast demo: {error}\nlogs are in {data / 'logs'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _stay(url: str, data: Path, period: dict[str, str]) -> None:
    """Keep the platform up until Ctrl-C."""
    page = f"{url}/?{urlencode({'start': period['start'], 'end': period['end']})}"
    print(
        f"\nDashboard   {page}\nAPI         {url}/docs\nModels      mlflow ui --backend-store-uri sqlite:///{data}/mlflow.db"
    )
    print("The shop's customers go on. Ctrl-C ends the demo.")
    while True:
        time.sleep(3600)
