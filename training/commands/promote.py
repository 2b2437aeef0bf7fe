"""`metercast promote`: make a registered version the champion; running servers pick it up."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="metercast promote", description=__doc__)
    parser.add_argument("model", help="version number in the registry, or the name of a model for its latest version")
    parser.add_argument("--data", type=Path, default=Path("metercast-data"), help="data directory of the platform")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args(argv)
    if not args.data.is_dir():
        print(f"metercast promote: {args.data} does not exist; give a data directory with --data", file=sys.stderr)
        return 2
    from training.export import export_champion
    from training.tracking import Tracking, UnknownVersionError

    tracking = Tracking(args.data)
    latest = {kind: version for version, kind in tracking.versions().items()}
    version = latest.get(args.model, args.model)
    before = tracking.champion()
    try:
        target = export_champion(tracking, version, args.data)
    except (UnknownVersionError, ValueError) as error:
        print(f"metercast promote: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps({"champion": version, "before": before, "bundle": str(target)}))
    else:
        print(f"version {version} is the champion now (before: {before or 'none'})")
    return 0
