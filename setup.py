"""Adds what is compiled, which is optional: without a compiler the platform works the same, slower."""

import sys

from setuptools import Extension, setup

COLUMNS = ("module", "arrow", "json_events", "check_rows", "narrow")
KERNELS = (
    "module",
    "chains",
    "distributions",
    "examples",
    "mixture",
    "network",
    "paths",
    "scales",
    "states",
    "sums",
    "totals",
    "weighted",
)
FLAGS = ["-std=c11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra", "-fvisibility=hidden"]
"""Without errno and traps, which nothing asks for, loops with a choice become vectors; results stay the same."""

FUSED = ["-ffp-contract=fast"]
"""A product and a sum may be one instruction, rounded once: a third quicker in a network, and no less exact."""


def _extension(name: str, folder: str, sources: tuple[str, ...], *headers: str, fused: bool = False) -> Extension:
    files = [f"{folder}/{source}.c" for source in sources]
    depends = [f"{folder}/{header}" for header in headers]
    flags = [*FLAGS, *FUSED * fused] if sys.platform != "win32" else []
    return Extension(name, files, depends=depends, extra_compile_args=flags, optional=True)


setup(
    ext_modules=[
        _extension("features._columns", "features/native", COLUMNS, "arrow.h", "json_numbers.h"),
        _extension("models._kernels", "models/native", KERNELS, "elementary.h", "kernels.h", fused=True),
    ]
)
