"""Adds what is compiled, which is optional: without a compiler the platform works the same, slower."""

import sys

from setuptools import Extension, setup

COLUMNS = ("module", "arrow", "json_events", "check_rows", "narrow")
KERNELS = ("module", "chains", "distributions", "paths", "weighted")
FLAGS = ["-std=c11", "-O3", "-Wall", "-Wextra", "-fvisibility=hidden"] if sys.platform != "win32" else []


def _extension(name: str, folder: str, sources: tuple[str, ...], *headers: str) -> Extension:
    files = [f"{folder}/{source}.c" for source in sources]
    return Extension(
        name, files, depends=[f"{folder}/{header}" for header in headers], extra_compile_args=FLAGS, optional=True
    )


setup(
    ext_modules=[
        _extension("features._columns", "features/native", COLUMNS, "arrow.h", "json_numbers.h"),
        _extension("models._kernels", "models/native", KERNELS, "kernels.h"),
    ]
)
