"""`metercast promote`: make a registered version the champion if it beats the one there is; servers pick it up."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.data_home import add_database_url, data_home

if TYPE_CHECKING:
    from training.promotion import Contest, Promotion
    from training.tracking import Tracking


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code: 1 where the champion stays."""
    args = _arguments(argv)
    if not args.data.is_dir():
        print(f"metercast promote: {args.data} does not exist; give a data directory with --data", file=sys.stderr)
        return 2
    from training.promotion import promote_version
    from training.tracking import Tracking

    tracking = Tracking(args.data)
    latest = {kind: version for version, kind in tracking.versions().items()}
    version = latest.get(args.model, args.model)
    before = tracking.champion()
    try:
        contest = None if args.force or before in (None, version) else _contest(tracking, version, args)
        found = promote_version(tracking, version, contest, args.data)
    except ValueError as error:  # unknown versions, damaged bundles and too little data are all told by their message
        print(f"metercast promote: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("metercast promote: stopped; the champion is as it was", file=sys.stderr)
        return 1
    _show(found, version, before, args)
    return 0 if found.version is not None else 1


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="metercast promote", description=__doc__)
    parser.add_argument("model", help="version number in the registry, or the name of a model for its latest version")
    parser.add_argument("--data", type=Path, default=data_home(), help="data directory of the platform")
    add_database_url(parser)
    parser.add_argument("--usage", type=Path, help="compare on this table of series instead (Parquet or CSV)")
    parser.add_argument("--origins", type=int, default=3, help="forecast from so many past moments (default: 3)")
    parser.add_argument("--metric", choices=("wql", "mase", "bill_wape"), default="wql", help="default: wql")
    parser.add_argument("--certainty", type=float, default=0.95, help="how sure the lead must be (default: 0.95)")
    parser.add_argument("--force", action="store_true", help="promote without a comparison")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args(argv)
    if not 0 <= args.certainty <= 1:
        parser.error(f"--certainty {args.certainty:g}: a share from 0 to 1 is needed")
    if args.origins < 1:
        parser.error(f"--origins {args.origins}: at least 1 is needed")
    return args


def _contest(tracking: Tracking, version: str, args: argparse.Namespace) -> Contest:
    """Windows of the length that the version forecasts, from the data directory or the table given."""
    from training.backtest import rolling_cuts
    from training.configuration import DataConfiguration
    from training.data import NoDataError, panel_of
    from training.promotion import Contest, loaded

    metadata = loaded(tracking, version)[1]
    known: dict[str, Any] = {key: metadata[key] for key in ("window_s", "season", "horizon")}
    try:
        panel = panel_of(args.data, DataConfiguration(**known, usage=args.usage), args.database_url)
    except NoDataError as error:
        raise ValueError(
            f"{error}. There is nothing to compare with the champion on; give --usage FILE or promote by --force"
        ) from error
    horizon = min(known["horizon"], max(1, panel.windows // 3))
    stride = min(horizon, known["season"])
    cuts = rolling_cuts(panel.windows, horizon, args.origins, stride)
    return Contest(panel, cuts, horizon, args.metric, args.certainty)


def _show(found: Promotion, version: str, before: str | None, args: argparse.Namespace) -> None:
    champion = found.version if found.version is not None else before
    if args.json:
        bundle = str(args.data / "models" / "champion")
        told = {"champion": champion, "before": before, "promoted": found.version is not None, "bundle": bundle}
        print(json.dumps(told | asdict(found) | {"version": version}, indent=2))
        return
    if found.version is None:
        print(f"{found.reason}; --force promotes version {version} anyway")
    else:
        print(f"version {version} is the champion now (before: {before or 'none'}): {found.reason}")
