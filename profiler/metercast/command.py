"""The `metercast` command: finds a subcommand, imports only that one, and runs it."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Module, its function, and a line of help.
OWN = {
    "run": ("metercast.commands.run", "main", "run a program under the profiler, without changing it"),
    "top": ("metercast.commands.top", "main", "watch a running program: what its operations cost, live"),
    "pause": ("metercast.commands.switch", "pause", "stop metering a running program; `resume` goes on"),
    "resume": ("metercast.commands.switch", "resume", ""),
    "doctor": ("metercast.commands.doctor", "main", "check the installation and say what to mend"),
}
GROUP = "metercast.commands"

# One line of help for the platform's subcommands, in the order a newcomer meets them.
PLATFORM = {
    "demo": "the whole job on this machine: profile a service, train, detect, price",
    "serve": "start API, engine and dashboard",
    "estimate": "the predictive bill of a user",
    "price": "rate measured usage under a plan",
    "train": "fit a forecaster",
    "tune": "search a forecaster's settings",
    "backtest": "forecast from rolling origins and score",
    "promote": "make a model the champion that serves",
    "detect": "score usage for anomalies, online",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``metercast ARGS``; exit codes: 0 ok, 1 failed, 2 misuse, 3 found something."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if arguments else 2
    name, rest = arguments[0], arguments[1:]
    if name in ("-V", "--version"):
        from importlib.metadata import version

        print(f"metercast {version('metercast')}")
        return 0
    command = _find(name)
    if command is None:
        print(f"metercast: no command {name!r}. `metercast --help` lists those installed.", file=sys.stderr)
        return 2
    try:
        return command(rest)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0


def _find(name: str) -> Callable[[list[str]], int] | None:
    if name in OWN:
        from importlib import import_module

        module, function, _ = OWN[name]
        own: Callable[[list[str]], int] = getattr(import_module(module), function)
        return own
    from importlib.metadata import entry_points

    for point in entry_points(group=GROUP):
        if point.name == name:
            found: Callable[[list[str]], int] = point.load()
            return found
    return None


def _help() -> str:
    from importlib.metadata import entry_points

    installed = {point.name for point in entry_points(group=GROUP)}
    lines = {name: text for name, (_, _, text) in OWN.items() if text}
    lines |= {name: text for name, text in PLATFORM.items() if name in installed}
    if more := sorted(installed - lines.keys()):
        lines["more"] = ", ".join(more)
    width = max(map(len, lines)) + 2
    body = "\n".join(f"  {name:<{width}}{text}" for name, text in lines.items())
    return (
        "usage: metercast COMMAND [ARGS]\n\n"
        "Meters what a program really does, forecasts it, and prices it before the bill comes.\n\n"
        f"{body}\n\n"
        "`metercast COMMAND --help` explains a command; each takes --json. Exit codes: 0 ok, 1 failed, 2 misuse,\n"
        "3 found something. Try: metercast run SCRIPT.py"
    )


if __name__ == "__main__":
    sys.exit(main())
