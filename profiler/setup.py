"""Adds the compiled engine, which is optional: without a compiler the package installs and works all the same."""

import sys

from setuptools import Extension, setup

FLAGS = ["-std=c11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden"] if sys.platform != "win32" else []

setup(
    ext_modules=[
        Extension(
            "metercast._engine",
            ["native/engine.c", "native/got.c", "native/stdio.c"],
            depends=["native/engine.h", "native/libc_calls.h"],
            extra_compile_args=FLAGS,
            optional=True,
        )
    ]
)
