"""`metercast pause` and `metercast resume`: the kill switch of programs that run."""

from __future__ import annotations

import argparse
import json
import os
import sys

from metercast.shipping.control import ask, control_directory, metered_processes


def pause(argv: list[str]) -> int:
    """Stop metering the processes named."""
    return _switch("pause", argv)


def resume(argv: list[str]) -> int:
    """Meter them again."""
    return _switch("resume", argv)


def _switch(request: str, argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=f"metercast {request}", description=__doc__)
    parser.add_argument("process", type=int, nargs="*", help="process numbers, as `metercast top` lists them")
    parser.add_argument("--all", action="store_true", help="every metered process of this user")
    parser.add_argument(
        "--control",
        default=os.environ.get("METERCAST_CONTROL", ""),
        help="directory of the sockets (METERCAST_CONTROL)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(argv)
    directory = control_directory(options.control)
    processes = metered_processes(directory) if options.all and directory else options.process
    if directory is None or not processes:
        what = "no metered process runs here" if options.all else "name a process, or --all"
        print(f"metercast {request}: {what}. `metercast top` lists those that run.", file=sys.stderr)
        return 1 if options.all else 2
    answers, code = [], 0
    for process in processes:
        try:
            answers.append(ask(directory, process, request))
        except OSError as error:
            print(f"metercast {request}: process {process} does not answer ({error}).", file=sys.stderr)
            code = 1
    if options.json:
        print(json.dumps([{"process": one["process"], "is_on": one["is_on"]} for one in answers]))
    else:
        for one in answers:
            print(f"{one['process']}: metering is {'on' if one['is_on'] else 'off'}")
    return code
