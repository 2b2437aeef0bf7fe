"""`metercast keys`: make, list, rotate and revoke API keys of a data directory, whether or not its server runs."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from serving.access.audit import AuditLog
from serving.access.keys import OVERLAP_S, BadKeyError, Key, KeyStore
from serving.access.principal import SCOPES
from serving.commands.location import add_options


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    args = _parser().parse_args(argv)
    if not args.database_url and not args.data.is_dir():
        print(f"metercast keys: no data directory {args.data}; `metercast serve --data` makes one", file=sys.stderr)
        return 2
    database = args.database_url or args.data / "metercast.db"
    keys, audit = KeyStore(database), AuditLog(database)
    try:
        answer = _act(args, keys, audit)
    except BadKeyError as error:
        print(f"metercast keys: {error}", file=sys.stderr)
        return 2
    finally:
        keys.close()
        audit.close()
    if args.json:
        print(json.dumps(answer, indent=2))
    else:
        for one in answer["keys"]:
            print("  ".join(str(value) for value in one.values() if value is not None))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="metercast keys", description=__doc__)
    shared = argparse.ArgumentParser(add_help=False)
    add_options(shared)
    shared.add_argument("--json", action="store_true", help="print one JSON document")
    acts = parser.add_subparsers(dest="act", required=True)
    acts.add_parser("list", parents=[shared], help="all keys, without their secrets")
    create = acts.add_parser("create", parents=[shared], help="a new key; its text is printed once")
    create.add_argument("name", help="what it is for")
    create.add_argument("--scope", action="append", required=True, help=f"repeat; {', '.join(SCOPES)}")
    create.add_argument("--tenant", help="see and meter this user only")
    create.add_argument("--days", type=float, help="ends after so many days")
    rotate = acts.add_parser("rotate", parents=[shared], help="a successor; the old key works a while longer")
    rotate.add_argument("id")
    rotate.add_argument("--overlap-s", type=float, default=OVERLAP_S, help="default: %(default)s")
    revoke = acts.add_parser("revoke", parents=[shared], help="end a key at once")
    revoke.add_argument("id")
    return parser


def _act(args: argparse.Namespace, keys: KeyStore, audit: AuditLog) -> dict[str, Any]:
    if args.act == "create":
        lifetime_s = args.days * 86_400 if args.days is not None else None
        key, text = keys.create(args.name, args.scope, args.tenant, lifetime_s)
        audit.record("command line", "key.create", key.id, scopes=list(key.scopes), tenant=key.tenant)
        return {"keys": [_document(key) | {"key": text}]}
    if args.act == "rotate":
        key, text = keys.rotate(args.id, args.overlap_s)
        audit.record("command line", "key.rotate", args.id, successor=key.id, overlap_s=args.overlap_s)
        return {"keys": [_document(key) | {"key": text}]}
    if args.act == "revoke":
        keys.revoke(args.id)
        audit.record("command line", "key.revoke", args.id)
    return {"keys": [_document(key) for key in keys.every()]}


def _document(key: Key) -> dict[str, Any]:
    scopes = " ".join(key.scopes)
    return {"id": key.id, "name": key.name, "scopes": scopes, "tenant": key.tenant, "expires_s": key.expires_s}
