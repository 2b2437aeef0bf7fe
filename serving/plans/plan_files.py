"""Plans as YAML files: read, checked with file, line and remedy, with what was agreed with single customers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from serving.plans.plan_builder import MisplacedError, Place, PlanBuilder
from serving.plans.plan_schema import PlanFile
from serving.pricing.plan import Plan


class PlanError(ValueError):
    """A plan file that cannot be used; the message has file, line, what is wrong and what is allowed."""


def load_plans(directory: Path) -> dict[str, Plan]:
    """The plans of a directory by id, of several versions the latest; raises what `load_versions` does."""
    return {plan_id: versions[-1] for plan_id, versions in load_versions(directory).items()}


def load_versions(directory: Path) -> dict[str, list[Plan]]:
    """All versions in a directory by plan id, in rising order.

    Raises PlanError for a missing directory, a bad file or a version that is there twice.
    """
    if not directory.is_dir():
        raise PlanError(f"{directory} is no directory; give one with plan files (*.yaml)")
    plans: dict[str, list[Plan]] = {}
    for path in sorted(directory.glob("*.yaml")):
        plan = load_plan(path)
        versions = plans.setdefault(plan.id, [])
        if any(one.version == plan.version for one in versions):
            raise PlanError(f"{path}: version {plan.version} of plan {plan.id!r} is defined twice; raise the version")
        if any(one.effective_from_ns == plan.effective_from_ns for one in versions):
            raise PlanError(f"{path}: two versions of plan {plan.id!r} take effect at once; set effective_from")
        versions.append(plan)
        versions.sort(key=lambda one: one.version)
    return plans


def load_plan(path: Path) -> Plan:
    """The plan of one file; raises PlanError with file, line, what is wrong and what is allowed."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PlanError(f"{path}: {error.strerror}; give the path of a plan file") from error
    return parse_plan(text, str(path))


def parse_plan(text: str, name: str = "plan") -> Plan:
    """The plan in a YAML text; ``name`` stands in error messages."""
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PlanError(f"{name}: not valid YAML: {error}") from error
    plan = _built(document, root, name, ())
    listed = document.get("overrides") or {}
    overrides = {
        user: _built(_overridden(document, user, root, name), root, name, ("overrides", user)) for user in listed
    }
    digest = hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()
    return replace(plan, overrides=overrides, digest=digest, text=text)


def _built(document: Any, root: yaml.Node | None, name: str, within: Place) -> Plan:
    """The plan of a document; ``within`` is where the reader finds what an error is about, where not at its place."""
    try:
        return PlanBuilder(PlanFile.model_validate(document)).plan()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        place = within or first["loc"]
        raise PlanError(
            f"{name}:{_line(root, place)}: {where}: {first['msg']} (found {first['input']!r:.80})"
        ) from error
    except MisplacedError as error:
        raise PlanError(f"{name}:{_line(root, within or error.place)}: {error}") from error


def _overridden(document: Mapping[str, Any], user: str, root: yaml.Node | None, name: str) -> dict[str, Any]:
    """The document as it is for one customer: keys of charges replaced, discounts added."""
    agreed = document["overrides"][user] or {}
    changes = agreed.get("charges", {})
    unknown = set(changes) - {charge["id"] for charge in document["charges"]}
    if unknown:
        line = _line(root, ("overrides", user, "charges", sorted(unknown)[0]))
        known = ", ".join(charge["id"] for charge in document["charges"])
        raise PlanError(f"{name}:{line}: overrides of unknown charge {sorted(unknown)[0]!r}; defined are {known}")
    charges = [charge | changes.get(charge["id"], {}) for charge in document["charges"]]
    discounts = [*document.get("discounts", []), *agreed.get("discounts", [])]
    return {**document, "charges": charges, "discounts": discounts, "overrides": {}}


def _line(node: yaml.Node | None, location: Place) -> int:
    """The line, counted from 1, of the deepest node on the way to a location."""
    line = 1
    for step in location:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == step), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line
