"""The settings of the profiler: one table of METERCAST_* variables with their defaults and meanings."""

from __future__ import annotations

import os

SETTINGS: tuple[tuple[str, str, type, object, str], ...] = (
    ("to", "METERCAST_TO", str, "", "where batches go: URL of a server, or a directory"),
    ("user", "METERCAST_USER", str, "unknown", "who pays when nothing more exact is known"),
    ("api_key", "METERCAST_API_KEY", str, "", "sent as `Authorization: Bearer`"),
    ("ca_file", "METERCAST_CA_FILE", str, "", "certificates to trust instead of the system's"),
    ("user_header", "METERCAST_USER_HEADER", str, "X-Metercast-User, X-User", "headers that name the user, in order"),
    (
        "pseudonym_keys",
        "METERCAST_PSEUDONYM_KEYS",
        str,
        "",
        "file of `metercast pseudonyms rotate`; users leave the program as pseudonyms",
    ),
    ("spool", "METERCAST_SPOOL", str, "", "directory for batches while the server is away"),
    ("spool_limit_bytes", "METERCAST_SPOOL_LIMIT_BYTES", int, 256 << 20, "above it, detail becomes totals"),
    (
        "ring_capacity",
        "METERCAST_RING_CAPACITY",
        int,
        65_536,
        "records held, a thread's with the compiled engine; above it, detail becomes totals",
    ),
    ("detail", "METERCAST_DETAIL", str, "execution", "an event per `execution` and type, or per `call`"),
    ("batch_events", "METERCAST_BATCH_EVENTS", int, 2_000, "events in a batch at most"),
    ("cpu_budget", "METERCAST_CPU_BUDGET", float, 0.01, "share of the CPU; above it, detail becomes totals"),
    (
        "interval_s",
        "METERCAST_INTERVAL_S",
        float,
        0.5,
        "seconds between two batches; three times as many where little is recorded",
    ),
    ("timeout_s", "METERCAST_TIMEOUT_S", float, 5.0, "seconds to wait for the server, and for the last batch"),
    ("clock", "METERCAST_CLOCK", str, "adaptive", "calls are timed `exact`, `adaptive` or `coarse`"),
    (
        "cycles",
        "METERCAST_CYCLES",
        str,
        "auto",
        "by the processor's `counter`, by the `nominal` frequency, or `auto`: by a counter that is cheap to read",
    ),
    ("engine", "METERCAST_ENGINE", str, "auto", "`compiled`, `python`, or `auto`: compiled where it was built"),
    (
        "journal",
        "METERCAST_JOURNAL",
        bool,
        False,
        "a SIGKILL loses no record: kept in files until delivered, or counted",
    ),
    (
        "allocations",
        "METERCAST_ALLOCATIONS",
        bool,
        False,
        "count the bytes that are allocated; with the compiled engine",
    ),
    ("control", "METERCAST_CONTROL", str, "", "directory of the sockets for `metercast top`; `off`: none"),
    ("off", "METERCAST_OFF", bool, False, "kill switch: the program runs unmetered"),
)
"""(attribute, variable, type, default, meaning) of every setting; the README's table is tested against it."""

_FALSE = ("", "0", "false", "no", "off")


class Settings:
    """Where and how this process ships what it records."""

    to: str
    user: str
    api_key: str
    ca_file: str
    user_header: str
    pseudonym_keys: str
    spool: str
    spool_limit_bytes: int
    ring_capacity: int
    detail: str
    batch_events: int
    cpu_budget: float
    interval_s: float
    timeout_s: float
    clock: str
    cycles: str
    engine: str
    journal: bool
    allocations: bool
    control: str
    off: bool

    __slots__ = tuple(row[0] for row in SETTINGS)

    def __init__(self, **values: object) -> None:
        for name, _, _, default, _ in SETTINGS:
            setattr(self, name, values.pop(name, default))
        if values:
            known = ", ".join(row[0] for row in SETTINGS)
            raise TypeError(f"Settings: unknown {', '.join(values)}; known are {known}. Remove it or correct its name.")

    @classmethod
    def from_environment(cls, **given: object) -> Settings:
        """Read METERCAST_*; what is given and not None wins. Raises ValueError naming a variable that is malformed."""
        values = {name: value for name, value in given.items() if value is not None}
        for name, variable, kind, _, _ in SETTINGS:
            text = os.environ.get(variable)
            if name not in values and text is not None:
                values[name] = _parse(variable, kind, text)
        return cls(**values)


def _parse(variable: str, kind: type, text: str) -> object:
    if kind is bool:
        return text.strip().lower() not in _FALSE
    try:
        value = kind(text)
    except ValueError:
        raise ValueError(f"{variable}={text!r} is not a number. Set a positive {kind.__name__} or unset it.") from None
    if kind is not str and not value > 0:
        raise ValueError(f"{variable}={text!r} must be above 0. Set a positive {kind.__name__} or unset it.")
    if variable == "METERCAST_PSEUDONYM_KEYS" and text:
        _check_keys(text)
    if variable == "METERCAST_CLOCK" and value not in ("exact", "adaptive", "coarse"):
        raise ValueError(f"{variable}={text!r} is none of `exact`, `adaptive`, `coarse`. Set one of them or unset it.")
    if variable == "METERCAST_CYCLES" and value not in ("auto", "counter", "nominal"):
        raise ValueError(f"{variable}={text!r} is none of `auto`, `counter`, `nominal`. Set one of them or unset it.")
    if variable == "METERCAST_DETAIL" and value not in ("execution", "call"):
        raise ValueError(f"{variable}={text!r} is neither `execution` nor `call`. Set one of them or unset it.")
    return value


def _check_keys(path: str) -> None:
    """Rather no start than names that were to be hidden."""
    from metercast.pseudonym import newest_key

    newest_key(path)
