"""Resources and their amounts in words, as an alert tells them to people."""

from __future__ import annotations

UNITS = {
    "cpu_cycles": "cycles",
    "memory_bytes": "B",
    "network_bytes": "B",
    "disk_bytes": "B",
    "execution_time_ms": "ms",
}
"""Units of the resources that have one; others are counts of their meter."""

_NAMES = {
    "cpu_cycles": "CPU cycles",
    "memory_bytes": "memory",
    "network_bytes": "network traffic",
    "disk_bytes": "disk traffic",
    "execution_time_ms": "time",
}


def resource_name(resource: str) -> str:
    """What a resource is called in a sentence; meters keep their name."""
    return _NAMES.get(resource, resource)


def quantity(value: float, unit: str = "") -> str:
    """An amount with a decimal prefix and its unit, three digits of it."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:,.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}".rstrip()
