"""Adds the compiled decoder of events, which is optional: without a compiler the platform works the same, slower."""

import sys

from setuptools import Extension, setup

FLAGS = ["-std=c11", "-O3", "-Wall", "-Wextra", "-fvisibility=hidden"] if sys.platform != "win32" else []

setup(
    ext_modules=[
        Extension(
            "features._columns",
            [f"features/native/{name}.c" for name in ("module", "arrow", "json_events", "check_rows", "narrow")],
            depends=["features/native/arrow.h"],
            extra_compile_args=FLAGS,
            optional=True,
        ),
    ]
)
