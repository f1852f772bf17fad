"""The clients' locks: every package by its version and hash, from wherever packages come from."""

from __future__ import annotations

import json
import re

import pytest

from tests.clients.environments import Environment, NodeEnvironment, PythonEnvironment
from tests.clients.roster import CLIENTS, ENVIRONMENTS, Client
from tests.clients.table import version


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda environment: environment.folder)
def test_every_package_is_locked(environment: Environment):
    if isinstance(environment, PythonEnvironment):
        lines = (environment.source / "requirements.txt").read_text().splitlines()
        begun = [number for number, line in enumerate(lines) if re.match(r"\w", line)]
        assert begun
        assert all("==" in lines[number] for number in begun)
        assert all("--hash=sha256:" in lines[number + 1] for number in begun)
        assert not any(line.startswith("-") for line in lines)
    elif isinstance(environment, NodeEnvironment):
        lock = json.loads((environment.source / "package-lock.json").read_text())
        packages = [package for name, package in lock["packages"].items() if name]
        assert packages
        assert all("integrity" in package and "resolved" not in package for package in packages)
    else:
        assert " h1:" in (environment.source / "go.sum").read_text()


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_the_version_of_each_client_is_known(client: Client):
    assert re.fullmatch(r"\d+(\.\d+)+", version(client.environment, client.package))
