"""The package itself: light to import, free of dependencies, typed, and its command."""

import json
import os
import subprocess
import sys

from .conftest import environment

IMPORT = """
import sys, time
before = set(sys.modules)
start = time.process_time_ns()
import metercast
print(time.process_time_ns() - start)
print(*sorted(set(sys.modules) - before))
"""
DEAR = {"asyncio", "dataclasses", "inspect", "logging", "typing", "json", "importlib.metadata", "http.client", "ssl"}


def _import_in_a_new_process(cache):
    done = subprocess.run(
        [sys.executable, "-S", "-c", IMPORT], capture_output=True, text=True, env=_compiled(cache), check=True
    )
    nanoseconds, names = done.stdout.splitlines()
    return int(nanoseconds), set(names.split())


def _compiled(cache):
    """The environment of a child that keeps compiled modules in a directory of its own."""
    env = environment(PYTHONPYCACHEPREFIX=str(cache))
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    return env


def test_the_import_takes_less_than_15_ms(tmp_path):
    """The best of five imports in new processes stays below 15 ms of CPU."""
    assert min(_import_in_a_new_process(tmp_path)[0] for _ in range(5)) < 15_000_000


def test_the_import_brings_in_nothing_dear(tmp_path):
    """No module that alone would cost milliseconds, and none from outside the standard library."""
    _, names = _import_in_a_new_process(tmp_path)
    assert not names & DEAR
    tops = {name.partition(".")[0] for name in names}
    assert tops <= set(sys.stdlib_module_names) | {"metercast"}


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "metercast.command", *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
        timeout=60,
    )


def test_help_and_misuse():
    """Help fits a screen and exits 0; an unknown command exits 2 and says where to look."""
    shown = command("--help")
    assert shown.returncode == 0
    assert "run a program under the profiler" in shown.stdout
    assert shown.stdout.count("\n") < 25
    unknown = command("nonsense")
    assert unknown.returncode == 2
    assert "--help" in unknown.stderr
    assert command("run").returncode == 2


def test_version_names_the_distribution():
    """`--version` is one line."""
    assert command("--version").stdout.startswith("metercast 0.")


def test_doctor_reports_as_json(tmp_path):
    """Every check says what it found; exit 3 means something is to be mended."""
    done = command("doctor", "--json", "--data", str(tmp_path), "--port", "1" if os.getuid() else "45123")
    checks = {row["check"]: row for row in json.loads(done.stdout)["checks"]}
    assert checks["Python"]["ok"]
    assert checks["thread clock"]["ok"]
    assert {"engine", "interception", "cycles", "bytes of system calls", "network counters", "spool"} <= set(checks)
    assert ("libc" in checks["interception"]["detail"]) == (checks["engine"]["detail"] == "compiled")
    assert done.returncode in (0, 3)


def test_doctor_tells_of_a_server_that_does_not_answer():
    """A destination that nobody listens at is to be mended, and the way is named."""
    env = environment(METERCAST_TO="http://127.0.0.1:1")
    line = [sys.executable, "-m", "metercast.command", "doctor", "--port", "45124"]
    done = subprocess.run(line, capture_output=True, text=True, env=env, check=False, timeout=60)
    assert done.returncode == 3
    assert "MEND  destination: http://127.0.0.1:1 does not answer" in done.stdout


def test_a_local_run_prints_the_dearest_operations(tmp_path):
    """Without a destination the totals are printed, as JSON on demand."""
    script = tmp_path / "p.py"
    script.write_text("from metercast import operation\nwith operation('work'): open('x','wb').write(b'1' * 1000)")
    done = subprocess.run(
        [sys.executable, "-m", "metercast.command", "run", "--json", str(script)],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=tmp_path,
        check=True,
    )
    document = json.loads(done.stdout)
    work = next(row for row in document["operations"] if row["operation"] == "work")
    assert sum(part["diskBytes"] for part in work["micro_operations"]) == 1000
    assert document["dropped"] == 0


def test_a_missing_script_is_misuse(tmp_path):
    """A name that is neither a file nor a command exits 2."""
    done = command("run", "--to", str(tmp_path / "out"), "nosuch.py")
    assert done.returncode == 2
    assert "nosuch.py" in done.stderr
