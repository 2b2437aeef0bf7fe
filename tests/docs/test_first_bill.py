"""The newcomer's page, executed as it stands."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "first-bill.md"


@pytest.mark.slow
def test_page_works_from_top_to_bottom(tmp_path: Path) -> None:
    """Files are written, commands run in their order, and each ends well; the bill names the operation and its disk."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    text = PAGE.read_text(encoding="utf-8").replace("8000", port)
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    for name, module in (("metercast", " -m metercast.command"), ("python", "")):
        (bin_directory / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{module} "$@"\n')
        (bin_directory / name).chmod(0o755)
    path = f"{bin_directory}{os.pathsep}{os.environ['PATH']}"
    python_path = os.pathsep.join([str(ROOT), str(ROOT / "profiler")])
    environment = os.environ | {"PATH": path, "PYTHONPATH": python_path}
    said, server = [], None
    try:
        for kind, name, block in re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            if name:
                (tmp_path / name).parent.mkdir(exist_ok=True)
                (tmp_path / name).write_text(block)
            elif block.rstrip().endswith("&"):
                command = block.rstrip().removesuffix("&")
                server = subprocess.Popen(
                    ["bash", "-c", f"exec env {command}"], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL
                )
                _wait(f"http://127.0.0.1:{port}/readyz")
            elif kind == "sh":
                done = subprocess.run(
                    ["bash", "-e", "-c", block],
                    cwd=tmp_path,
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
                said.append(done.stdout)
    finally:
        if server is not None:
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 0
    whole = "\n".join(said)
    assert "make_thumbnail DISK_WRITE" in whole
    assert "P50" in whole
    assert "champion" in whole
    assert "'amount': '5.00'" in whole
    assert len(re.findall(r"mc_[0-9a-f]{12}_", whole)) == 2


def _wait(url: str) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < end, f"{url} does not answer"
        time.sleep(0.2)
