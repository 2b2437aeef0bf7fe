"""The rules of the house that a tool can check: sizes, docstrings, READMEs and what an import may pull in."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("profiler/metercast", "features", "models", "training", "serving")
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def names(paths):
    return [str(path.relative_to(ROOT)) for path in paths]


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("module", MODULES, ids=names(MODULES))
def test_module_says_what_it_is_for_and_stays_small(module):
    """A module opens with a sentence, has at most 300 lines, and its functions at most 40."""
    text = module.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), f"{module.name} needs an opening sentence"
    assert len(text.splitlines()) <= 300, f"{module.name} has {len(text.splitlines())} lines; split it"
    long = [f"{f.name} ({f.end_lineno - f.lineno + 1} lines)" for f in functions(tree) if f.end_lineno - f.lineno >= 40]
    assert not long, f"functions over 40 lines: {', '.join(long)}"


@pytest.mark.parametrize(
    "room", ["profiler", "features", "models", "training", "serving", "configs", "notebooks", "tests"]
)
def test_room_has_a_readme(room):
    """Each folder at the top explains itself."""
    assert (ROOT / room / "README.md").read_text().startswith("# ")


def test_every_test_has_a_sentence():
    """The suite reads as a specification."""
    silent = [
        f"{path.relative_to(ROOT)}::{node.name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in functions(ast.parse(path.read_text()))
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert not silent, f"tests without a docstring: {silent}"


def test_no_drawer_for_odds_and_ends():
    """Nothing is called utils, common or helpers."""
    assert not [name for name in names(MODULES) if re.search(r"(^|/)_?(utils?|common|helpers?)(/|\.py$)", name)]


def test_registered_commands_exist():
    """Each entry point of the `metercast` command names a module of ours with that function."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["metercast.commands"]
    for command, target in table.items():
        module, _, function = target.partition(":")
        path = ROOT / (module.replace(".", "/") + ".py")
        assert path.exists(), f"{command} points to {path}, which does not exist"
        assert function in {node.name for node in functions(ast.parse(path.read_text()))}, f"{command}: no {function}"


def test_serving_starts_without_the_training_libraries():
    """Importing the app pulls in nothing of training, and none of what only a forecast or a single detector needs."""
    heavy = ("lightning", "mlflow", "optuna", "torch", "river", "scipy", "sklearn")
    check = f"import sys, serving.api.app, serving.server; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_links_between_documents_lead_somewhere():
    """Relative links in the READMEs and guides point to files that exist."""
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(path for path in ROOT.glob("*/README.md"))]
    broken = [
        f"{document.relative_to(ROOT)} -> {target}"
        for document in documents
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", document.read_text())
        if not (document.parent / target).exists()
    ]
    assert not broken, f"broken links: {broken}"
