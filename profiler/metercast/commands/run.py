"""`metercast run`: runs a script, module or console command under the profiler, without changing it."""

from __future__ import annotations

import argparse
import contextlib
import os
import runpy
import shutil
import sys

from metercast import hooks, runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from metercast.settings import Settings
    from metercast.shipping.shipper import Shipper


def main(argv: list[str]) -> int:
    """Run the program; the exit code is the program's own, 2 for misuse."""
    options, program = _parse(argv)
    try:
        from metercast.settings import Settings

        settings = Settings.from_environment(to=options.to, user=options.user)
        runtime.start(settings)
        _pass_on(settings)
        if options.operation:
            from metercast.hooks.named import meter, tell_waiting

            for target in options.operation:
                meter(target)
    except (ValueError, OSError) as error:
        print(f"metercast run: {error}", file=sys.stderr)
        return 2
    shipper = runtime.shipper()
    name = options.module or os.path.splitext(os.path.basename(program[0]))[0]
    with _root(name):
        code = _execute(options.module, program)
    runtime.stop()
    if shipper is not None:
        _report(shipper, bool(settings.to), options.json)
        if options.operation:
            tell_waiting()
    return code


def _parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Options up to the first word that is not one; the rest is the program's own."""
    parser = argparse.ArgumentParser(
        prog="metercast run",
        usage="%(prog)s [--user U] [--to URL|DIR] [--operation MODULE:FUNCTION] [--json] [--] "
        "(SCRIPT | COMMAND | -m MODULE) [ARGS]",
    )
    parser.add_argument("--user", help="who pays when nothing more exact is known (METERCAST_USER)")
    parser.add_argument("--to", help="URL of a server, or a directory for batches (METERCAST_TO)")
    parser.add_argument("--operation", action="append", help="meter this function as an operation; may be repeated")
    parser.add_argument("--json", action="store_true", help="without --to: print the totals as JSON")
    parser.add_argument("-m", dest="module", help="run a module as `python -m` does; ends the options")
    own, index = [], 0
    while index < len(argv) and argv[index].startswith("-"):
        word = argv[index]
        index += 1
        if word == "--":
            break
        own.append(word)
        if word in ("--user", "--to", "--operation", "-m") and index < len(argv):
            own.append(argv[index])
            index += 1
        if word == "-m":
            break
    options = parser.parse_args(own)
    if options.module is None and index == len(argv):
        parser.error("name a script, a command or -m MODULE")
    return options, argv[index:]


def _pass_on(settings: Settings) -> None:
    """Processes that the program starts anew find where to ship, whatever directory they work in."""
    if settings.to:
        os.environ["METERCAST_TO"] = settings.to if "://" in settings.to else os.path.abspath(settings.to)
        settings.to = os.environ["METERCAST_TO"]
    os.environ["METERCAST_USER"] = settings.user


def _execute(module: str | None, program: list[str]) -> int:
    try:
        if module is not None:
            sys.argv = [module, *program]
            sys.path.insert(0, os.getcwd())
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            path = _find_script(program[0])
            sys.argv = [path, *program[1:]]
            sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
            runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        return _exit_code(end)
    return 0


def _find_script(name: str) -> str:
    """A file, or a Python command (as gunicorn or uvicorn) on PATH or beside this interpreter."""
    if os.path.exists(name):
        return name
    for path in (None, os.path.dirname(sys.executable)):
        found = shutil.which(name, path=path)
        if found is not None and _is_python(found):
            return found
    print(
        f"metercast run: no script {name!r}, nor a Python command of that name on PATH. Check the path.",
        file=sys.stderr,
    )
    raise SystemExit(2)


def _is_python(path: str) -> bool:
    """Whether its first line names Python, or its second does, as pip writes it where the path of Python is long."""
    with open(path, "rb") as file:
        first, second = file.readline(), file.readline()
    return b"python" in first or (first.startswith(b"#!/bin/sh") and b"exec" in second and b"python" in second)


def _exit_code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


@contextlib.contextmanager
def _root(name: str) -> Iterator[None]:
    """The operation that everything belongs to which no other operation claims."""
    execution = runtime.engine.open(name, is_root=True)
    token = runtime.engine.current.set(execution)
    try:
        yield
    finally:
        runtime.engine.close(execution)
        runtime.engine.current.reset(token)


def _report(shipper: Shipper, is_shipped: bool, as_json: bool) -> None:
    if not is_shipped:
        rows = shipper.ledger.dearest()
        if as_json:
            import json

            print(json.dumps({"operations": rows, "events": shipper.events, "dropped": shipper.dropped}))
        elif rows:
            from metercast.ledger import table

            print(f"\nmetercast: the dearest operations of this run\n\n{table(rows)}", file=sys.stderr)
    for area in hooks.problems:
        print(f"metercast: not intercepted, of a version unknown here: {area}", file=sys.stderr)
    problem = shipper.problem or (shipper.delivery.last_problem if shipper.delivery is not None else "")
    if problem and not shipper.lost.events:  # of those it has told itself
        print(f"metercast: some batches are kept for later ({problem})", file=sys.stderr)
