"""Adds the compiled engine, which is optional: without a compiler the package installs and works all the same."""

import sys
from glob import glob

from setuptools import Extension, setup

FLAGS = ["-std=c11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden"] if sys.platform != "win32" else []

SOURCES = (
    "engine",
    "operations",
    "shipping",
    "execution",
    "blocks",
    "asgi",
    "requests",
    "allocations",
    "threads",
    "charging",
    "boundaries",
    "recording",
    "names",
    "totals",
    "drain",
    "ring_file",
    "rows",
    "columns",
    "json",
    "clock",
    "counters",
    "got",
    "libc_calls",
    "descriptors",
    "connections",
    "stdio",
)

setup(
    ext_modules=[
        Extension(
            "metercast._engine",
            [f"native/{name}.c" for name in SOURCES],
            depends=glob("native/*.h"),
            extra_compile_args=FLAGS,
            optional=True,
        )
    ]
)
