"""The plans of a platform: every version that was ever published, and which one is in force."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from serving.plans.plan_files import PlanError, parse_plan
from serving.pricing.plan import Plan
from serving.storage.tables import Tables

_TABLE = """
CREATE TABLE IF NOT EXISTS plan_versions (
    plan_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    digest TEXT NOT NULL,
    body TEXT NOT NULL,
    published_ns BIGINT NOT NULL,
    PRIMARY KEY (plan_id, version)
)
"""
LOOK_S = 1.0
"""A version that another server published is known here after so long at most."""


class PlanCatalogue(Mapping[str, Plan]):
    """Plans by id, each in the version in force now; versions stay available when their files are gone."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        tables.create(_TABLE)
        self._known: dict[str, list[Plan]] = {}
        self._looked_s = time.monotonic()
        self._read_new()

    def publish(self, plan: Plan) -> bool:
        """Make a version known for good; False where it was known.

        Raises PlanError for contents that differ from what was published under this version, for a version that takes
        effect no later than the one before it, and for another currency.
        """
        with self._tables.transaction():  # several servers that publish at once do so one after the other
            return self._publish(plan)

    def _publish(self, plan: Plan) -> bool:
        self._read_new()
        rows = self._tables.rows(
            "SELECT digest, published_ns FROM plan_versions WHERE plan_id = ? AND version = ?", (plan.id, plan.version)
        )
        if rows:
            if rows[0][0] != plan.digest:
                at = datetime.fromtimestamp(int(rows[0][1]) / 1e9, UTC).isoformat(timespec="seconds")
                raise PlanError(
                    f"plan {plan.id!r} version {plan.version} was published on {at} with other contents, and a "
                    f"published version never changes; give yours version {self.versions(plan.id)[-1].version + 1}"
                )
            return False
        self.check(plan)
        self._tables.write(
            "INSERT INTO plan_versions (plan_id, version, digest, body, published_ns) VALUES (?, ?, ?, ?, ?)",
            (plan.id, plan.version, plan.digest, plan.text, time.time_ns()),
        )
        self._add(plan)
        return True

    def check(self, plan: Plan) -> None:
        """Raises PlanError where a new version does not follow from those there are."""
        for other in self._versions.get(plan.id, ()):
            if other.version == plan.version:
                continue
            earlier, later = sorted((other, plan), key=lambda one: one.version)
            if earlier.effective_from_ns >= later.effective_from_ns:
                raise PlanError(
                    f"plan {plan.id!r}: version {later.version} takes effect no later than version {earlier.version}; "
                    "set plan.effective_from of the newer one after that of the older"
                )
            if other.currency != plan.currency:
                raise PlanError(f"plan {plan.id!r} is in {other.currency}; prices in {plan.currency} need another id")

    def versions(self, plan_id: str) -> list[Plan]:
        """All versions of a plan, the oldest first; raises KeyError for an unknown plan."""
        return list(self._versions[plan_id])

    def in_force(self, plan_id: str, at_ns: int) -> Plan:
        """The version in force at an instant, the first one before it; raises KeyError for an unknown plan."""
        versions = self._versions[plan_id]
        return next((plan for plan in reversed(versions) if plan.effective_from_ns <= at_ns), versions[0])

    def during(self, plan_id: str, user: str, start_ns: int) -> list[Plan]:
        """The versions from the one in force at an instant on, as they are for a customer.

        The first version counts from the beginning: usage before it took effect is priced by it.
        """
        first = self.in_force(plan_id, start_ns)
        return [plan.of_customer(user) for plan in self._versions[plan_id] if plan.version >= first.version]

    def __getitem__(self, plan_id: str) -> Plan:
        return self.in_force(plan_id, time.time_ns())

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._versions))

    def __len__(self) -> int:
        return len(self._versions)

    @property
    def _versions(self) -> Mapping[str, list[Plan]]:
        """Versions by plan, at most `LOOK_S` older than the database: another server may have published since."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._read_new()
        return self._known

    def _read_new(self) -> None:
        known = {(plan.id, plan.version) for versions in self._known.values() for plan in versions}
        for plan_id, version in self._tables.rows("SELECT plan_id, version FROM plan_versions ORDER BY 1, 2"):
            if (plan_id, int(version)) not in known:
                query = "SELECT body FROM plan_versions WHERE plan_id = ? AND version = ?"
                self._add(parse_plan(self._tables.rows(query, (plan_id, version))[0][0]))

    def _add(self, plan: Plan) -> None:
        """Put a version where it belongs; a new list, as another thread may be going through the old one."""
        versions = [one for one in self._known.get(plan.id, ()) if one.version != plan.version]
        self._known[plan.id] = sorted([*versions, plan], key=lambda one: one.version)
