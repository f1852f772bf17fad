"""Real Elasticsearch nodes on loopback: started, waited for, killed, stopped.

Elasticsearch refuses to run as root: under root a node runs as nobody, so its directory has to
be one that nobody may enter. ``base_directory`` makes such a one.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.elasticsearch_build import find_java
from tests.support.process import free_port

log = logging.getLogger(__name__)

NOBODY = 65534
START_SECONDS = 180.0
STOP_SECONDS = 60.0
THREADS_SECONDS = 5.0
"""Within which a server writes down what its threads do."""

LOG4J2 = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] [%node_name]%marker %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
"""

# To start fast matters more in tests than how fast a query is after an hour.
QUICK_START = """\
-XX:+UseSerialGC
-XX:TieredStopAtLevel=1
"""
JVM_OPTIONS = """\
-XX:-AlwaysPreTouch
-XX:+ExitOnOutOfMemoryError
-Djava.io.tmpdir=${ES_TMPDIR}
20-:--add-modules=jdk.incubator.vector
-Dorg.apache.lucene.store.defaultReadAdvice=normal
-Dorg.apache.lucene.store.MMapDirectory.sharedArenaMaxPermits=1
"""

LAUNCHER = "org.elasticsearch.server.launcher.ServerLauncher"
CLI_JAVA_OPTIONS = ("-Xms4m", "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


@contextmanager
def base_directory() -> Iterator[Path]:
    """Make a directory that nodes can use, and remove it at the end."""
    made = Path(tempfile.mkdtemp(prefix="memgpt-elasticsearch-"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


class ElasticsearchNode:
    """One node; what it stores outlives ``kill`` and ``stop``, so it can be started again.

    Args:
        home: The unpacked distribution.
        base: A directory of ``base_directory``.
        name: Of the node; one of ``seeds`` where there are any.
        seeds: Names and transport ports of all nodes of a cluster.
        settings: Further settings of elasticsearch.yml.
        http: Its port; a free one by default.
        heap: Of the server's Java.
        java: Further options of it, one a line.
    """

    def __init__(
        self,
        home: Path,
        base: Path,
        name: str = "n1",
        *,
        seeds: Mapping[str, int] | None = None,
        settings: Mapping[str, object] | None = None,
        http: int | None = None,
        heap: str = "512m",
        java: str = QUICK_START,
    ) -> None:
        self.home, self.name, self.heap = home, name, heap
        self.directory = base / name
        self.http = http or free_port()
        seeded = dict(seeds or {name: free_port()})
        alone = {"discovery.type": "single-node"}
        cluster = {
            "discovery.seed_hosts": [f"127.0.0.1:{port}" for port in seeded.values()],
            "cluster.initial_master_nodes": list(seeded),
        }
        self.settings: dict[str, object] = {
            "cluster.name": "memgpt-test",
            "node.name": name,
            "path.data": str(self.directory / "data"),
            "path.logs": str(self.directory / "logs"),
            "network.host": "127.0.0.1",
            "http.port": self.http,
            "transport.port": seeded[name],
            "xpack.security.enabled": False,
            "cluster.routing.allocation.disk.threshold_enabled": False,
            **(cluster if seeds else alone),
            **(settings or {}),
        }
        self._launcher: subprocess.Popen[bytes] | None = None
        self._write_configuration(java)

    def __enter__(self) -> Self:
        return self.start().wait()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def secure(self) -> bool:
        return self.settings["xpack.security.enabled"] is True

    @property
    def url(self) -> str:
        scheme = "https" if self.settings.get("xpack.security.http.ssl.enabled") else "http"
        return f"{scheme}://127.0.0.1:{self.http}"

    @property
    def configuration(self) -> Path:
        return self.directory / "config"

    @property
    def pid(self) -> int:
        """Of the server: the launcher's only child, which may be about to end."""
        assert self._launcher is not None
        threads = Path(f"/proc/{self._launcher.pid}/task").iterdir()
        (child,) = " ".join((each / "children").read_text() for each in threads).split()
        return int(child)

    def start(self) -> Self:
        """Start the process; ``wait`` until it is ready."""
        assert not self._running(), "already started"
        classes = f"{self.home}/lib/tools/server-launcher/*"
        command = [find_java(), *CLI_JAVA_OPTIONS, "-cp", classes, LAUNCHER]
        with self._log.open("ab") as log:
            self._launcher = subprocess.Popen(
                command,
                env=self._environment(),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **_as_nobody(),
            )
        return self

    def wait(
        self, status: str = "green", nodes: int = 1, auth: tuple[str, str] | None = None
    ) -> Self:
        """Wait until the cluster has this state and so many nodes.

        With security on, even a right password is refused until the index of users is there.
        """
        index = "/.security" if self.secure else ""
        wanted = f"wait_for_status={status}&wait_for_nodes=>={nodes}&timeout=5s"
        deadline = time.monotonic() + START_SECONDS
        while not self._answers(f"/_cluster/health{index}?{wanted}", auth):
            assert self._running(), f"{self.name} ended:\n{self.log()}"
            assert time.monotonic() < deadline, f"{self.name} is not {status}:\n{self.log()}"
        return self

    def stop(self) -> None:
        """Ask it to end, and wait until it has; one that cannot is killed.

        A node that was paused while it started may never end by itself. What another one waits
        for is told: its threads are in what it printed.
        """
        if not self._running():
            return
        assert self._launcher is not None
        self._launcher.terminate()
        try:
            self._launcher.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            log.error("%s did not end:\n%s", self.name, self.threads())
            self.kill()

    def kill(self) -> None:
        """End the server as a power cut would; the launcher then ends by itself."""
        assert self._launcher is not None
        os.kill(self.pid, signal.SIGKILL)
        self._launcher.wait(STOP_SECONDS)

    def pause(self) -> None:
        """Let it answer nothing, as a long collection of garbage would."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        os.kill(self.pid, signal.SIGCONT)

    def threads(self, kind: str = "") -> str:
        """What its threads do, those with ``kind`` in their name."""
        before = len(self.printed())
        os.kill(self.pid, signal.SIGQUIT)
        deadline = time.monotonic() + THREADS_SECONDS
        while "JNI global refs" not in (told := self.printed()[before:]):  # comes after them
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        each = told.split("\n\n")
        return "\n\n".join(one for one in each if kind in one.partition("\n")[0])

    def log(self) -> str:
        """The end of what it printed."""
        return self.printed()[-4000:]

    def printed(self) -> str:
        return self._log.read_text(errors="replace")

    def tool(self, name: str, libraries: str, *arguments: str, given: str | None = None) -> str:
        """Run one of Elasticsearch's command-line tools on this node's configuration."""
        properties = {
            "cli.name": name,
            "cli.script": name,
            "cli.libs": libraries,
            "es.path.home": self.home,
            "es.path.conf": self.configuration,
            "es.distribution.type": "zip",
            "es.java.type": "ES_JAVA_HOME",
        }
        defined = [f"-D{key}={value}" for key, value in properties.items()]
        classes = f"{self.home}/lib/*:{self.home}/lib/cli-launcher/*"
        command = [find_java(), *CLI_JAVA_OPTIONS, *defined, "-cp", classes]
        done = subprocess.run(
            [*command, "org.elasticsearch.launcher.CliToolLauncher", *arguments],
            env=self._environment(),
            cwd=self.home,
            input=given,
            text=True,
            check=True,
            capture_output=True,
            **_as_nobody(),
        )
        return done.stdout

    def give(self) -> None:
        """Make its directory belong to the user that it runs as."""
        if os.geteuid() == 0:
            for path in (self.directory, *self.directory.rglob("*")):
                shutil.chown(path, NOBODY, NOBODY)

    @property
    def _log(self) -> Path:
        return self.directory / "logs" / "console.log"

    def _write_configuration(self, java: str) -> None:
        for name in ("config/jvm.options.d", "data", "logs", "tmp"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        lines = (f"{key}: {json.dumps(value)}\n" for key, value in self.settings.items())
        (self.configuration / "elasticsearch.yml").write_text("".join(lines))
        (self.configuration / "log4j2.properties").write_text(LOG4J2)
        (self.configuration / "jvm.options").write_text(java + JVM_OPTIONS)
        self.give()

    def _environment(self) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
        return kept | {
            "ES_HOME": str(self.home),
            "ES_PATH_CONF": str(self.configuration),
            "ES_TMPDIR": str(self.directory / "tmp"),
            "ES_DISTRIBUTION_TYPE": "zip",
            "ES_JAVA_OPTS": f"-Xms{self.heap} -Xmx{self.heap}",
            "JAVA": find_java(),
            "JAVA_TYPE": "ES_JAVA_HOME",
            "CLI_JAVA_OPTS": " ".join(CLI_JAVA_OPTIONS),
        }

    def _running(self) -> bool:
        return self._launcher is not None and self._launcher.poll() is None

    def _answers(self, path: str, auth: tuple[str, str] | None) -> bool:
        """Ask for the cluster's health; wait a moment where nothing answers."""
        asked = urllib.request.Request(self.url + path)
        if auth is not None:
            digits = base64.b64encode(":".join(auth).encode()).decode()
            asked.add_header("Authorization", f"Basic {digits}")
        context = ssl._create_unverified_context() if self.url.startswith("https") else None
        try:
            with urllib.request.urlopen(asked, timeout=10, context=context) as answer:
                return not json.load(answer)["timed_out"]
        except (OSError, ValueError):
            time.sleep(0.1)
            return False


def cluster(home: Path, base: Path, names: Sequence[str]) -> list[ElasticsearchNode]:
    """Return nodes that form a cluster; none is started yet."""
    seeds = {name: free_port() for name in names}
    return [ElasticsearchNode(home, base, name, seeds=seeds, heap="384m") for name in names]


def _as_nobody() -> dict[str, Any]:
    """How a process of a node is started, under root."""
    if os.geteuid() != 0:
        return {}
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}
