"""Names become pseudonyms before anything is kept, unwanted fields are never kept, and what is old goes for good."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from metercast.pseudonym import is_pseudonym, pseudonym
from pydantic import ValidationError

from features.sqlite_log import SqliteEventLog
from serving.access.pseudonyms import Mapping, PseudonymKeyError, Pseudonyms, add_key, read_keys
from serving.api.app import create_app
from serving.commands.erase import main as erase_main
from serving.commands.log import main as log_main
from serving.commands.pseudonyms import main as pseudonyms_main
from serving.settings import Settings
from serving.storage.history import History
from tests.features.events import batch, event
from tests.serving.conftest import PLANS, Sender
from tests.serving.conftest import event as usage_event
from tests.serving.engines import caught_up

PERSON = "person-4711@example.org"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A file with one key."""
    add_key(tmp_path / "pseudonym.keys")
    return tmp_path / "pseudonym.keys"


def _settings(tmp_path: Path, **more: Any) -> Settings:
    return Settings(data=tmp_path / "data", plans=PLANS, windows_s=(1, 10, 3600), lateness_s=0.0, **more)


def _usage(user: str) -> list[dict[str, Any]]:
    import time

    return [usage_event(user, "checkout", "CPU_INSTRUCTION", int(time.time()) - 5 + 0.1, cpuCycles=7)]


def test_a_pseudonym_is_the_same_wherever_the_key_is() -> None:
    """Profiler and server agree, another key gives another name, and a pseudonym is told from a name."""
    made = pseudonym(b"k" * 32, PERSON)
    assert made == pseudonym(b"k" * 32, PERSON) != pseudonym(b"l" * 32, PERSON)
    assert is_pseudonym(made)
    assert not is_pseudonym(PERSON)
    assert not is_pseudonym("p_" + "x" * 31 + "1")


def test_keys_rotate_and_known_users_keep_their_names(tmp_path: Path, keys: Path) -> None:
    """Bills go on under the old name; who is seen first later is named with the new key."""
    before = Pseudonyms(keys, tmp_path / "map.db").of([PERSON])[0]
    add_key(keys)
    rotated = Pseudonyms(keys, tmp_path / "map.db")
    newest = read_keys(keys)[-1][1]
    assert rotated.of([PERSON, "bob", before]) == [before, pseudonym(newest, "bob"), before]
    assert rotated.mapping.user_of(before) == PERSON
    assert [stat.S_IMODE(path.stat().st_mode) for path in (keys, tmp_path / "map.db")] == [0o600, 0o600]


def test_a_file_without_keys_is_refused(tmp_path: Path) -> None:
    """The message says how to make one."""
    (tmp_path / "keys").write_text("k1:zz")
    with pytest.raises(PseudonymKeyError, match="metercast pseudonyms rotate"):
        Pseudonyms(tmp_path / "keys", tmp_path / "map.db")


def test_no_name_is_kept_and_both_names_find_the_usage(tmp_path: Path, keys: Path, feed: Sender) -> None:
    """Log and windows hold the pseudonym only; the vendor may ask by either name, the tenant by its own."""
    with TestClient(create_app(_settings(tmp_path, pseudonym_keys=keys))) as client:
        feed(client, _usage(PERSON))
        (name,) = client.get("/v1/users").json()["users"]
        assert is_pseudonym(name)
        for asked in (PERSON, name):
            assert client.get("/v1/usage", params={"user": asked}).status_code == 200
        vendor = client.post("/v1/keys", json={"name": "a", "scopes": ["admin"]}).json()["key"]
        theirs = {"name": "n", "scopes": ["usage:read", "events:write"], "tenant": PERSON}
        made = client.post("/v1/keys", json=theirs, headers={"Authorization": f"Bearer {vendor}"})
        mine = {"Authorization": f"Bearer {made.json()['key']}"}
        assert client.get("/v1/users", headers=mine).json()["users"] == [name]
        assert client.get("/v1/usage", params={"user": PERSON}, headers=mine).status_code == 200
        feed(client, _usage(PERSON), mine)
        refused = client.post("/v1/events", json=_usage("globex"), headers=mine)
        assert refused.status_code == 403
        assert "globex" not in refused.text
    rest = [file for file in (tmp_path / "data").iterdir() if not file.name.startswith("identities.db")]
    assert not [file.name for file in rest if file.is_file() and PERSON.encode() in file.read_bytes()]
    database = tmp_path / "data" / "metercast.db"
    assert {one.batch.rows["user_id"][0].as_py() for one in SqliteEventLog(database).read(0, 9)} == {name}


def test_fields_that_are_never_stored(tmp_path: Path, feed: Sender) -> None:
    """They are empty in the log already; fields that bills need cannot be left out."""
    with TestClient(create_app(_settings(tmp_path, never_stored=("executionID", "source")))) as client:
        feed(client, _usage("acme"))
    row = SqliteEventLog(tmp_path / "data" / "metercast.db").read(0, 9)[0].batch.rows.to_pylist()[0]
    assert (row["execution_id"], row["source"], row["cpu_cycles"]) == (0, "", 7)
    with pytest.raises(ValidationError, match="executionID, parentExecutionID, source"):
        _settings(tmp_path, never_stored=("userID",))


def test_erasing_a_user_erases_the_pseudonym_too(
    tmp_path: Path, keys: Path, feed: Sender, capsys: pytest.CaptureFixture[str]
) -> None:
    """Usage under the pseudonym and the mapping go; not a byte of either name is left in the data directory."""
    with TestClient(create_app(_settings(tmp_path, pseudonym_keys=keys))) as client:
        feed(client, _usage(PERSON))
        (name,) = client.get("/v1/users").json()["users"]
    data = tmp_path / "data"
    assert pseudonyms_main(["who", name, "--map", str(data / "identities.db"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["user"] == PERSON
    assert erase_main(["--user", PERSON, "--data", str(data), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["removed"]["events"], answer["removed"]["pseudonyms"]) == (1, 1)
    assert pseudonyms_main(["who", name, "--map", str(data / "identities.db")]) == 1
    for file in data.iterdir():
        assert file.is_dir() or not any(one.encode() in file.read_bytes() for one in (PERSON, name)), file
    assert Mapping(data / "identities.db").known(PERSON) is None


def test_old_events_expire_and_hours_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Raw events and short windows of before an age go, the hours of bills stay, and a replay still agrees."""
    log = SqliteEventLog(tmp_path / "metercast.db")
    old, new = [event(-86_400.0 * 10, cpuCycles=1)], [event(-30.0, cpuCycles=2)]
    log.append([batch(old + new, 1), batch(old, 2)])
    caught_up(log, tmp_path / "metercast.db", (10, 3600))
    words = ["--data", str(tmp_path)]
    assert log_main(["expire", "--older-than-days", "5", "--json", *words]) == 0
    assert json.loads(capsys.readouterr().out)["removed_events"] == 2
    assert [one.batch.rows.num_rows for one in log.read(0, 9)] == [1, 0]
    assert History(tmp_path / "metercast.db").windows(3600, 0, 2**62)["cpu_cycles"].sum() == 4
    assert log_main(["verify", *words]) == log_main(["replay", *words]) == 0
    assert [one.outcome.value for one in log.append([batch(old, 2)])] == ["duplicate"]
