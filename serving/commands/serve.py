"""`metercast serve`: API, engine and dashboard in one process."""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import socket
import sys
from pathlib import Path

import yaml
from pydantic import ValidationError

from features.database import DATABASE_ERRORS, Location
from serving.access.keys import KeyStore
from serving.logs import configure
from serving.plans.plan_files import PlanError
from serving.settings import Settings, from_environment
from serving.storage.migrations import SchemaVersionError
from serving.tracing import TracingError

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def main(argv: list[str]) -> int:
    """Run the command until it is told to stop; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        settings = _settings(args)
        listener = _listen(settings)
    except (OSError, ValueError) as error:
        print(f"metercast serve: {error}", file=sys.stderr)
        return 2
    configure(settings.log_level)
    gc.disable()  # until all is set up: there is nothing yet to collect
    from serving.api.app import create_app
    from serving.server import run

    try:
        app = create_app(settings)
    except (PlanError, SchemaVersionError, TracingError, OSError, *DATABASE_ERRORS) as error:
        print(f"metercast serve: {error}", file=sys.stderr)
        return 2
    url = f"{'https' if settings.tls_key else 'http'}://{settings.host}:{listener.getsockname()[1]}"
    print(
        json.dumps({"url": url, "data": str(settings.data.resolve())}) if args.json else f"Metercast on {url}",
        flush=True,
    )
    for number in (signal.SIGINT, signal.SIGTERM):  # the server raises the signal again once it has stopped
        signal.signal(number, lambda *_: sys.exit(0))
    run(
        app,
        listener,
        timeout_graceful_shutdown=3,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="metercast serve", description=__doc__)
    parser.add_argument("--config", type=Path, help="settings as YAML, e.g. configs/serve.yaml; options override it")
    parser.add_argument("--data", type=Path, help="data directory (default: metercast-data)")
    parser.add_argument("--database-url", help="PostgreSQL instead of a file in the data directory")
    parser.add_argument("--plans", type=Path, help="directory of plan files")
    parser.add_argument("--host", help="address to listen on; other than loopback only once keys exist")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for a free one")
    parser.add_argument("--lateness-s", type=float, help="how late events may be before windows close")
    parser.add_argument("--tls-certificate", type=Path, help="PEM file; serves HTTPS")
    parser.add_argument("--tls-key", type=Path, help="PEM file of the certificate's key")
    parser.add_argument("--log-level", help="debug, info (every request), warning or error; JSON on standard error")
    parser.add_argument("--json", action="store_true", help="print the address as JSON")
    return parser


def _settings(args: argparse.Namespace) -> Settings:
    """Settings from the file and the options; raises ValueError that names the key, the value and what is allowed."""
    values: dict[str, object] = {}
    if args.config is not None:
        try:
            values |= yaml.safe_load(args.config.read_text(encoding="utf-8")) or {}
        except (OSError, yaml.YAMLError) as error:
            raise ValueError(f"{args.config}: {error}") from error
    values |= from_environment(os.environ)
    options = ("data", "database_url", "plans", "host", "port", "lateness_s", "tls_certificate", "tls_key", "log_level")
    values |= {name: value for name in options if (value := getattr(args, name)) is not None}
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ValueError(f"setting {where}: {first['msg']} (found {first['input']!r:.60})") from error
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        raise ValueError("TLS needs both --tls-certificate and --tls-key")
    _check_host(settings)
    return settings


def _check_host(settings: Settings) -> None:
    """Raises ValueError when other machines could reach a server that has no keys."""
    if settings.host in LOOPBACK or _has_keys(settings.database):
        return
    raise ValueError(
        f"--host {settings.host}: without keys only loopback is served; use 127.0.0.1 or make a key first: "
        f"metercast keys create NAME --scope admin --data {settings.data}"
    )


def _has_keys(database: Location) -> bool:
    if isinstance(database, Path) and not database.exists():
        return False
    keys = KeyStore(database)
    try:
        return keys.exist()
    finally:
        keys.close()


def _listen(settings: Settings) -> socket.socket:
    """The bound socket; raises OSError that says what to do when the port is in use."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(128)  # whoever reads the address may connect at once
    except OSError as error:
        listener.close()
        raise OSError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; choose another --port"
        ) from error
    return listener
