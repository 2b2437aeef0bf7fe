"""Adds what is compiled, which is optional: without a compiler the platform works the same, slower."""

import sys

from setuptools import Extension, setup

COLUMNS = ("module", "arrow", "json_events", "check_rows", "narrow")
KERNELS = ("module", "chains", "distributions", "network", "paths", "weighted")
FLAGS = ["-std=c11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra", "-fvisibility=hidden"]
"""Without errno and traps, which nothing asks for, loops with a choice become vectors; results stay the same."""


def _extension(name: str, folder: str, sources: tuple[str, ...], header: str) -> Extension:
    files = [f"{folder}/{source}.c" for source in sources]
    flags = FLAGS if sys.platform != "win32" else []
    return Extension(name, files, depends=[f"{folder}/{header}"], extra_compile_args=flags, optional=True)


setup(
    ext_modules=[
        _extension("features._columns", "features/native", COLUMNS, "arrow.h"),
        _extension("models._kernels", "models/native", KERNELS, "kernels.h"),
    ]
)
