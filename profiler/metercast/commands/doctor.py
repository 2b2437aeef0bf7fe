"""`metercast doctor`: checks the installation and says what to mend."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import socket
import sys
import tempfile

from metercast.commands import machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Check = tuple[str, bool, str]

ROOMS = ("features", "models", "training", "serving")
PACKAGES = (
    "numpy",
    "polars",
    "pyarrow",
    "pydantic",
    "yaml",
    "rich",
    "river",
    "torch",
    "lightning",
    "mlflow",
    "fastapi",
)
DEFAULT_PORT = 8000
DEFAULT_DATA = "metercast-data"


def main(argv: list[str]) -> int:
    """Run the checks; the exit code is 0 when all pass, 3 when something is to be mended."""
    parser = argparse.ArgumentParser(prog="metercast doctor", description=__doc__)
    parser.add_argument(
        "--data", default=os.environ.get("METERCAST_DATA") or DEFAULT_DATA, help="data directory to check"
    )
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="port that the server is to listen on")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(argv)
    checks = list(_checks(options.data, options.port))
    if options.json:
        print(json.dumps({"checks": [{"check": name, "ok": ok, "detail": detail} for name, ok, detail in checks]}))
    else:
        for name, ok, detail in checks:
            print(f"{'ok  ' if ok else 'MEND'}  {name}: {detail}")
    return 0 if all(ok for _, ok, _ in checks) else 3


def _checks(data: str, port: int) -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield "Python", sys.version_info >= (3, 11), f"{version}; 3.11 or newer is needed"
    yield _profiler()
    yield _engine()
    yield from _clocks()
    yield from machine.checks()
    if importlib.util.find_spec("serving") is None and importlib.util.find_spec("features") is None:
        yield "platform", True, "not installed here; the profiler works without it"
    else:
        for room in ROOMS:
            yield _room(room)
        for package in PACKAGES:
            found = importlib.util.find_spec(package) is not None
            yield package, found, "installed" if found else f"missing; pip install {package}"
    yield _port(port)
    yield _writable(data)


def _profiler() -> Check:
    import metercast

    return "metercast", True, f"the profiler, in {os.path.dirname(metercast.__file__)}"


def _engine() -> Check:
    from metercast.native import is_compiled
    from metercast.runtime import engine

    if not is_compiled(engine):
        return "engine", True, "Python; a C compiler and `pip install --force-reinstall` give the compiled one"
    return "engine", True, "compiled"


def _clocks() -> Iterator[Check]:
    """What this machine offers for measuring, and what each reading costs."""
    from metercast import clock

    cost_ns = clock.cost_ns(clock.cpu_ns)
    yield "thread clock", cost_ns < 5_000, f"{cost_ns:.0f} ns a reading; above 5000 metering is dear"
    yield "nominal frequency", True, f"{clock.nominal_hz() / 1e6:,.0f} MHz; METERCAST_NOMINAL_MHZ overrides it"


def _room(room: str) -> Check:
    """Another project's package of the same name would be found first, and fail in strange ways."""
    spec = importlib.util.find_spec(room)
    if spec is None or not spec.submodule_search_locations:
        return room, False, "not found; pip install the platform (see README)"
    place = next(iter(spec.submodule_search_locations))
    marker = {"features": "schema.py", "models": "contracts.py", "training": "fit.py", "serving": "platform.py"}[room]
    is_ours = os.path.exists(os.path.join(place, marker))
    return (
        room,
        is_ours,
        place if is_ours else f"{place} is another package of that name; use an environment of its own",
    )


def _port(port: int) -> Check:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return f"port {port}", False, f"{error.strerror}; stop what uses it or choose another --port"
    return f"port {port}", True, "free"


def _writable(data: str) -> Check:
    directory = data if os.path.isdir(data) else os.path.dirname(os.path.abspath(data))
    try:
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        return f"data directory {data}", False, f"{directory}: {error.strerror}; choose another --data"
    return f"data directory {data}", True, "writable"
