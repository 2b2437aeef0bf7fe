"""With a file of keys no user's name leaves the program, and the server's own pseudonym is the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from metercast.pseudonym import pseudonym

from serving.access.pseudonyms import add_key, read_keys
from tests.profiler.run_program import run_program, runs

PROGRAM = """
from metercast import operation
for user in ("ada", "bo", "ada"):
    with operation("work", user=user):
        pass
"""


def test_users_leave_as_pseudonyms_of_the_newest_key(tmp_path: Path) -> None:
    """Names are in no batch, amounts are unchanged, and the names are those that ingest makes with the file."""
    keys = tmp_path / "keys"
    add_key(keys)
    add_key(keys)
    events = run_program(tmp_path, PROGRAM, METERCAST_PSEUDONYM_KEYS=str(keys))
    newest = read_keys(keys)[-1][1]
    users = {event["userID"] for event in events if event["operationID"] == "work"}
    assert users == {pseudonym(newest, "ada"), pseudonym(newest, "bo")}
    assert not {"ada", "bo"} & {event["userID"] for event in events}
    assert runs(events, "work") == 3


def test_a_missing_file_of_keys_is_told_before_anything_is_metered(tmp_path: Path) -> None:
    """Rather no start than names that were to be hidden."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    target = tmp_path / "batches"
    command = [sys.executable, "-m", "metercast.command", "run", "--to", str(target), str(script)]
    environment = {"METERCAST_PSEUDONYM_KEYS": str(tmp_path / "none"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 2
    assert "metercast pseudonyms rotate" in done.stderr
    assert not target.exists()
