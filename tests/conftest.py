"""Fixtures that several rooms share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests import postgresql
from tests.demo_run import run_demo

settings.register_profile("house", deadline=None)  # speed is measured by benchmarks; a busy machine fails no test
settings.load_profile("house")
# Several processes test side by side: threads of torch and BLAS would wait for each other's processors.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that look at the demo run in one process, so that there is one demo however many processes there are."""
    for item in items:
        if "demo_run" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("demo"))


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The data directory and the document of one short demo, run once for all tests."""
    data: Path = tmp_path_factory.mktemp("demo") / "data"
    return data, run_demo(data)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.Server]:
    """One PostgreSQL server for all tests."""
    postgresql.skip_without_server()
    with postgresql.server() as started:
        yield started
