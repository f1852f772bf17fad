"""Begins a container from within its namespaces: ``inside.py ROOT DATA VOLUME USER COMMAND …``.

The root file system becomes ROOT, read-only, with DATA at VOLUME; the network is up, and has
nothing but loopback; then COMMAND runs as USER (``uid:gid``) in place of this.
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys

UP, SET_FLAGS = 0x1, 0x8914  # IFF_UP and SIOCSIFFLAGS of Linux

root, data, volume, user, *command = sys.argv[1:]


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    fcntl.ioctl(probe, SET_FLAGS, struct.pack("16sh14x", b"lo", UP))
mount("--bind", root, root)
mount("--options", "remount,bind,ro", root)
mount("--types", "proc", "proc", f"{root}/proc")
mount("--bind", "/dev", f"{root}/dev")
mount("--bind", data, f"{root}{volume}")
os.execvp("chroot", ["chroot", f"--userspec={user}", "--groups=", root, *command])
