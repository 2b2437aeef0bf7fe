"""`metercast pseudonyms`: make and rotate the key of pseudonyms, and find out who stands behind one."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from serving.access.pseudonyms import Mapping, PseudonymKeyError, add_key, read_keys


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code: 1 where a name is unknown."""
    args = _parser().parse_args(argv)
    try:
        answer = {"rotate": _rotate, "of": _of, "who": _who}[args.act](args)
    except PseudonymKeyError as error:
        print(f"metercast pseudonyms: {error}", file=sys.stderr)
        return 2
    if answer is None:
        print(f"metercast pseudonyms: {args.name!r:.80} is not in {args.map}", file=sys.stderr)
        return 1
    print(json.dumps(answer) if args.json else "\n".join(f"{name}: {value}" for name, value in answer.items()))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="metercast pseudonyms", description=__doc__)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print one JSON document")
    mapped = argparse.ArgumentParser(add_help=False, parents=[shared])
    mapped.add_argument("--map", type=Path, default=Path("metercast-data/identities.db"), help="the mapping")
    mapped.add_argument("name")
    acts = parser.add_subparsers(dest="act", required=True)
    rotate = acts.add_parser("rotate", parents=[shared], help="add a key, for users seen first from now on")
    rotate.add_argument("keys", type=Path, help="the file of keys, setting `pseudonym_keys`; made where it is missing")
    acts.add_parser("of", parents=[mapped], help="the pseudonym of a user")
    acts.add_parser("who", parents=[mapped], help="the user behind a pseudonym")
    return parser


def _rotate(args: argparse.Namespace) -> dict[str, Any] | None:
    name = add_key(args.keys)
    return {"key": name, "keys": len(read_keys(args.keys)), "next": "restart the servers that use this file"}


def _of(args: argparse.Namespace) -> dict[str, Any] | None:
    found = _opened(args).known(args.name)
    return {"user": args.name, "pseudonym": found} if found else None


def _who(args: argparse.Namespace) -> dict[str, Any] | None:
    found = _opened(args).user_of(args.name)
    return {"user": found, "pseudonym": args.name} if found else None


def _opened(args: argparse.Namespace) -> Mapping:
    if not args.map.is_file():
        raise PseudonymKeyError(f"no mapping {args.map}; a server with `pseudonym_keys` makes one")
    return Mapping(args.map)
