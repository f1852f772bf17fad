"""What "How it works" says of the code is so: its map of modules, their order, and their names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

from tests.docs.fenced import CHECKOUT, PAGES

PACKAGE = "memgpt_proxy"
ROOT = CHECKOUT / PACKAGE
PLACES = (CHECKOUT, ROOT)
PAGE = (CHECKOUT / "docs" / "how-it-works.md").read_text()

_LINE = re.compile(r"^\| ((?:`\w+`(?:, )?)+) \|", re.MULTILINE)
_NAMED = re.compile(r"`((?:{})(?:\.\w+)+)`")


def name_of(path: Path) -> str:
    parts = path.relative_to(CHECKOUT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in ROOT.rglob("*.py")}


def imported(path: Path) -> Iterator[str]:
    """The modules of ours that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                yield inner if inner in MODULES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith(PACKAGE))


def top(module: str) -> str:
    """What the map calls it: the package or module right under ours."""
    return module.split(".")[1]


def mapped() -> list[str]:
    """What the map names, in its order."""
    _, _, section = PAGE.partition("\n## The modules\n")
    section, _, _ = section.partition("\n## ")
    return [name for line in _LINE.findall(section) for name in re.findall(r"\w+", line)]


def test_the_map_names_every_module_once():
    there = {top(module) for module in MODULES if module != PACKAGE}
    assert sorted(mapped()) == sorted(there - {"__main__"})


def test_modules_import_only_what_stands_below_them():
    place = {name: index for index, name in enumerate(mapped())}
    upwards = [
        f"{module} imports {other}"
        for module, path in MODULES.items()
        if top(f"{module}.") in place
        for other in imported(path)
        if other != PACKAGE and place[top(other)] < place[top(module)]
    ]
    assert upwards == []


def test_no_modules_import_one_another():
    graph = {module: set(imported(path)) - {module} for module, path in MODULES.items()}
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError


def test_names_in_how_it_works_are_those_of_the_code():
    named = re.compile(_NAMED.pattern.format("|".join(mapped())))
    assert [name for name in named.findall(PAGE) if not exists(name)] == []


def test_files_that_pages_name_are_there():
    for page in PAGES:
        named = re.findall(r"`([\w/]+/\w+\.py)`", page.read_text())
        assert [name for name in named if not any((at / name).is_file() for at in PLACES)] == []


def exists(dotted: str) -> bool:
    """Whether it is a module of ours, or a name in one."""
    module, *rest = dotted.split(".")
    name = f"{PACKAGE}.{module}"
    while rest and f"{name}.{rest[0]}" in MODULES:
        name = f"{name}.{rest.pop(0)}"
    value: object = import_module(name)
    for attribute in rest:
        if not hasattr(value, attribute):
            return False
        value = getattr(value, attribute)
    return True
