"""What the image's tests need, once a machine: ``python -m tests.support.image_build``.

A base image made by debootstrap from the archive that this Debian uses, in a store of buildah's
that is nobody else's, and the locked wheels for its Python, so that builds need no network. It
lies in ``/var/cache/memgpt-proxy/image`` and takes root, three minutes and 700 MB.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = Path("/var/cache/memgpt-proxy/image")
LOCKS = [ROOT / "requirements" / name for name in ("image.txt", "release.txt")]
PACKAGES = ("python3", "python3-venv", "ca-certificates")
TOOLS = ("buildah", "debootstrap")
BASE = "localhost/memgpt-proxy-base"
STORE = (f"--root={CACHE}/storage", f"--runroot={CACHE}/run", "--storage-driver=overlay")
CERTIFICATES = "/run/certificates.pem"
WHEELS = "/run/wheels"
OFFLINE = f"[global]\nno-index = true\nfind-links = {WHEELS}\n"
"""The configuration of pip with which an image is built from wheels that are there."""


def buildah(*arguments: str | Path) -> str:
    """Run buildah in the tests' own store; return what it prints. Its errors are printed."""
    done = subprocess.run(
        ["buildah", *STORE, *arguments],
        env={**os.environ, "BUILDAH_ISOLATION": "chroot"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return done.stdout.strip()


def wheels() -> Path:
    """Where the wheels of the locks lie, once they are fetched."""
    locked = b"".join(path.read_bytes() for path in LOCKS)
    return CACHE / f"wheels-{hashlib.sha256(locked).hexdigest()[:16]}"


def missing() -> str | None:
    """Return what an image cannot be built without, or None."""
    if os.geteuid() != 0:
        return "the image is built and run by root alone"
    if absent := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"no {' and '.join(absent)} on the PATH"
    if not buildah("images", "--quiet", "--filter", f"reference={BASE}") or not wheels().is_dir():
        return f"no base image in {CACHE}: run python -m tests.support.image_build"
    return None


def prepare() -> None:
    """Make what is missing. Raises SystemExit where that cannot be done here."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SystemExit("The image is built and tested as root of a Debian alone")
    _install_tools()
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another checkout may be making it
        if not buildah("images", "--quiet", "--filter", f"reference={BASE}"):
            _make_base()
        if not wheels().is_dir():
            _fetch_wheels()


@contextlib.contextmanager
def container(image: str) -> Iterator[str]:
    """Yield a container of an image, which is gone afterwards."""
    name = buildah("from", "--pull-never", image)
    try:
        yield name
    finally:
        buildah("rm", name)


def _install_tools() -> None:
    if all(map(shutil.which, TOOLS)):
        return
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *TOOLS]
    subprocess.run(install, check=True, stdout=subprocess.DEVNULL)


def _make_base() -> None:
    sys.stderr.write("Making a base image of Debian's packages, this once …\n")
    with tempfile.TemporaryDirectory(dir=CACHE) as work, container("scratch") as name:
        rootfs = Path(work) / "rootfs"
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
        with (CACHE / "debootstrap.log").open("w") as log:
            made = subprocess.run(
                [*command, _codename(), rootfs, _archive()], stdout=log, stderr=log, check=False
            )
        if made.returncode != 0:
            raise SystemExit(f"debootstrap failed: see {CACHE / 'debootstrap.log'}")
        for part in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(rootfs / part)
        buildah("add", "--quiet", name, rootfs, "/")
        buildah("commit", "--quiet", name, BASE)


def _fetch_wheels() -> None:
    """Let the base's own Python fetch the wheels that it will be asked to install."""
    sys.stderr.write("Fetching the wheels of the image, this once …\n")
    with tempfile.TemporaryDirectory(dir=CACHE) as work, container(BASE) as name:
        given = Path(work)
        (given / "pip.conf").write_text(_pip_configuration())
        (given / "wheels").mkdir()
        mounts = [f"--volume={given}/wheels:{WHEELS}"]
        mounts.append(f"--volume={given}/pip.conf:/etc/pip.conf:ro")
        mounts += [f"--volume={path}:{path}:ro" for path in _local_wheels()]
        if certificates := _configured().get("cert"):
            mounts.append(f"--volume={certificates}:{CERTIFICATES}:ro")
        buildah("run", *mounts, name, "--", "python3", "-m", "venv", "/opt/fetching")
        pip = ["/opt/fetching/bin/python", "-m", "pip", "download", "--quiet", "--dest", WHEELS]
        for lock in LOCKS:
            mounted = f"--volume={lock}:/run/lock.txt:ro"
            locked = ["--require-hashes", "--only-binary", ":all:", "-r", "/run/lock.txt"]
            buildah("run", *mounts, mounted, name, "--", *pip, *locked)
        (given / "wheels").rename(wheels())


def _configured() -> dict[str, str]:
    """Return the options that this machine's pip is given by its files and environment."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    told = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    found = re.findall(r"^(global|:env:)\.([\w-]+)='(.*)'$", told, re.MULTILINE)
    return {name: value.encode().decode("unicode_escape") for _, name, value in found}


def _pip_configuration() -> str:
    """Return this machine's configuration of pip as a file for the base's."""
    options = _configured()
    if "cert" in options:
        options["cert"] = CERTIFICATES
    lines = [f"{name} = {' '.join(value.split())}" for name, value in options.items()]
    return "\n".join(["[global]", *lines, ""])


def _local_wheels() -> Sequence[Path]:
    """Return the directories of this machine in which its pip looks for wheels."""
    links = map(Path, _configured().get("find-links", "").split())
    return [path for path in links if path.is_dir()]


def _codename() -> str:
    found = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    assert found is not None, "/etc/os-release names no release"
    return found[1]


def _archive() -> str:
    """Return the archive that this machine's packages come from."""
    directory = Path("/etc/apt/sources.list.d")
    sources = [
        *directory.glob("*.sources"),
        *directory.glob("*.list"),
        directory.parent / "sources.list",
    ]
    text = "\n".join(path.read_text() for path in sources if path.is_file())
    found = re.search(
        r"^(?:URIs:|deb(?: \[[^]]*])?)\s+(https?://\S+/debian/?)\s", text, re.MULTILINE
    )
    assert found is not None, "no archive of Debian's packages in /etc/apt"
    return found[1]


if __name__ == "__main__":
    prepare()
