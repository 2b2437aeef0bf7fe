"""Adds what is compiled, which is optional: without a compiler the platform works the same, slower."""

import sys

from setuptools import Extension, setup

KERNELS = ("module", "chains", "distributions", "paths", "weighted")
FLAGS = ["-std=c11", "-O3", "-Wall", "-Wextra", "-fvisibility=hidden"] if sys.platform != "win32" else []

setup(
    ext_modules=[
        Extension("features._columns", ["features/native/columns.c"], extra_compile_args=FLAGS, optional=True),
        Extension(
            "models._kernels",
            [f"models/native/{name}.c" for name in ("module", "chains", "distributions", "paths", "weighted")],
            depends=["models/native/kernels.h"],
            extra_compile_args=FLAGS,
            optional=True,
        ),
    ]
)
