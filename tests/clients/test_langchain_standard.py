"""LangChain's own standard integration tests pass at the gateway."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.clients.conftest import client_environment, installed
from tests.clients.environments import PythonEnvironment
from tests.clients.roster import RESPONSES_SERVED
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.obliging_model import oblige

ENVIRONMENT = PythonEnvironment("langchain")
CLASSES = ["TestWithMemory", "TestReadingMemory", "TestWithoutMemory"]
CLASSES += ["TestResponses"] if RESPONSES_SERVED else []
SKIPPED = {
    "test_stream_time": "VCR not set up.",  # it times recorded answers
}
MOST_SECONDS = 240


@pytest.mark.timeout(MOST_SECONDS + 30)
def test_langchains_standard_tests(
    clients_gateway: GatewayProcess, backend: ScriptedBackend, api_key: str, tmp_path: Path
):
    installed(ENVIRONMENT)
    backend.script(oblige)
    # Apart from these tests' own configuration, which needs what is not in that environment.
    suite = shutil.copy(ENVIRONMENT.source / "standard_suite.py", tmp_path)
    report = tmp_path / "report.xml"
    command = [ENVIRONMENT.python, "-m", "pytest", *(f"{suite}::{name}" for name in CLASSES)]
    command += ["--rootdir", str(tmp_path), "-p", "no:cacheprovider", "-o", "asyncio_mode=auto"]
    # The client keeps its connections for the next test, so that all share one loop.
    command += ["-o", "asyncio_default_test_loop_scope=session"]
    command += ["--disable-socket", "--allow-hosts=127.0.0.1", "--junit-xml", str(report), "-q"]
    at = {"OPENAI_BASE_URL": clients_gateway.base_url, "OPENAI_API_KEY": api_key}
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**client_environment(tmp_path), **at, "LANGCHAIN_TESTS_USER_AGENT": "none"},
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    cases = list(ElementTree.parse(report).iter("testcase"))
    skips = {case.attrib["name"]: skip for case in cases for skip in case.iter("skipped")}
    assert {name: skip.attrib["message"] for name, skip in skips.items()} == SKIPPED
    assert len(cases) - len(SKIPPED) * len(CLASSES) > 40 * len(CLASSES)
