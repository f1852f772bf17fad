"""Starting the gateway: its backend, its port, and what a person reads first."""

from __future__ import annotations

import errno
import gc
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import httpx
import uvloop
from starlette.routing import BaseRoute, Mount

from memgpt_proxy.app import create_app
from memgpt_proxy.backend.discovery import find_local_server, list_models, url_meant
from memgpt_proxy.backend.http1 import Http1Transport, Proxies, ProxyFailed
from memgpt_proxy.backends_file import BackendsFile, read_backends
from memgpt_proxy.config import LogFormat, Settings
from memgpt_proxy.data_dir import DataDirError, DataDirInUse, claimed
from memgpt_proxy.demo.request import MODEL as DEMO_MODEL
from memgpt_proxy.demo.server import create_app as create_demo
from memgpt_proxy.server import Server
from memgpt_proxy.settings_sources import unknown_variables
from memgpt_proxy.storage import DATABASE
from memgpt_proxy.stores.protocols import StoreError
from memgpt_proxy.telemetry.logs import configure
from memgpt_proxy.wrong_settings import REPLICAS_APART, SettingsError

log = logging.getLogger(__name__)

_DEMO_PATH = "/demo"
_COLLECT_AT = (10_000, 50, 50)
"""New objects, and collections of each younger generation, at which one is collected."""


_WAYS_OUT = {
    errno.EADDRINUSE: "choose another port with --port",
    errno.EACCES: "choose another port with --port",
    errno.EADDRNOTAVAIL: "--host has to be an address of this machine",
}


_REFUSES_THE_KEY = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)

_DEGRADED = """
It is away, or has not got all that waits for it: turns are answered from what is at hand, and what
is said waits in a journal. memgpt-proxy check tells what is missing."""


class StartError(Exception):
    """The gateway cannot start; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The backend that the gateway stands in front of.

    Attributes:
        what: Its description for a person.
        key: A key to show in examples.
        model: A model to show in examples.
        routes: What the gateway itself has to serve for it: the demo backend lives inside.
        several: All backends, where there are several.
        doubtful: Something about it looks wrong; the description says what.
    """

    url: str
    what: str
    key: str
    model: str
    routes: tuple[BaseRoute, ...] = ()
    several: BackendsFile | None = None
    doubtful: bool = False


def serve(settings: Settings) -> None:
    """Run the gateway until it is told to stop.

    Raises:
        StartError: It cannot start.
    """
    _log_as_told(settings)
    for name, what in unknown_variables(os.environ).items():
        log.warning("%s is in the environment, but %s", name, what)
    if settings.redis_url is not None and settings.namespace_secret is None:
        log.warning(REPLICAS_APART)
    try:
        with _heeding(), claimed(settings.data_dir), closing(_listen(settings)) as listener:
            uvloop.run(_run(settings, listener))
        log.info("Stopped.")
    except KeyboardInterrupt:  # by a signal while it started, or by a third one while it closed
        log.info("Stopped at once.")
    except StoreError as error:
        raise StartError(f"{_where(settings)}: {error}") from error
    except DataDirInUse as error:
        raise StartError(f"{error}, or choose another directory with --data-dir") from error
    except (DataDirError, SettingsError, ValueError) as error:
        raise StartError(str(error)) from error


@contextmanager
def _heeding() -> Iterator[None]:
    """Let SIGTERM and SIGHUP interrupt as SIGINT does, wherever the server does not take them.

    One that is ignored stays so, as under nohup. The first process of a container does not see a
    signal that it has no handler for: one that is stopped while it starts would be killed only at
    the end of its grace.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _log_as_told(settings: Settings) -> None:
    as_json = settings.log_format is LogFormat.JSON
    if settings.log_format is LogFormat.AUTO:
        as_json = not sys.stderr.isatty()
    configure(settings.log_level, as_json=as_json, stream=sys.stderr)


async def _run(settings: Settings, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    chosen = await _choose_backend(settings, port)
    try:
        app = create_app(settings, chosen.url, routes=chosen.routes, several=chosen.several)
    except OSError as error:
        directory, at = settings.data_dir, error.filename
        where = at if at and Path(at) != directory else f"data_dir {directory}"
        raise StartError(f"{where}: {error.strerror}") from error
    async with app.opened():
        _greet(settings, port, chosen, degraded=app.degraded())
        _spare_collections()
        server = Server(
            app, app.draining, delay=settings.drain_delay_seconds, grace=settings.drain_seconds
        )
        await server.run_to_end(listener)


def _spare_collections() -> None:
    """Let the garbage collector pass over what stays for the life of the process.

    Nearly everything a request makes is freed by reference counts; collecting as often as
    is usual cost a tenth of the time on the hot route (``docs/performance.md``).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AT)


def _listen(settings: Settings) -> socket.socket:
    """Return a listening socket, so that its port is known before anything is printed."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartError(f"host {settings.host}: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise StartError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
            f"{_WAYS_OUT.get(error.errno or 0, 'check --host and --port')}"
        ) from error
    return listener


async def _choose_backend(settings: Settings, port: int) -> _Chosen:
    if (several := read_backends(settings)) is not None:
        return _several(settings, several, port)
    transport = Http1Transport(max_connections=8, proxies=Proxies(os.environ))
    try:
        if settings.backend_url is not None:
            return await _named_backend(settings, str(settings.backend_url), port, transport)
        found = await find_local_server(transport)
    finally:
        await transport.aclose()
    if found is not None:
        shown = _key_to_show(settings, backend_wants_it=False)
        return _Chosen(found.url, f"{found.name} at {found.url}", shown, found.model)
    url = f"http://{_own_address(settings.host)}:{port}{_DEMO_PATH}/v1"
    demo = Mount(_DEMO_PATH, app=create_demo())
    what = "the demo backend, a small rule-based model (set --backend-url to use a real one)"
    shown = _key_to_show(settings, backend_wants_it=False, any_key="demo")
    return _Chosen(url, what, shown, DEMO_MODEL, (demo,))


async def _named_backend(
    settings: Settings, url: str, port: int, transport: httpx.AsyncBaseTransport
) -> _Chosen:
    url = url.rstrip("/")
    _check_not_itself(settings, url, port, "backend_url")
    key = settings.backend_api_key
    what, model, wants_key, doubt = f"the backend at {url}", None, key is None, ""
    try:
        listed = await list_models(transport, url, key.get_secret_value() if key else None)
    except httpx.TransportError as error:
        why = str(error).rstrip(".")
        wrong = "is it running, and is backend_url right?"
        if isinstance(error, ProxyFailed):
            wrong = "is HTTPS_PROXY right, or has NO_PROXY to name it?"
        doubt = f", which cannot be reached now ({why}): {wrong}"
    else:
        model = next(iter(listed.models), None)
        if meant := url_meant(url, listed):
            doubt = f", which lists no models there ({listed.status}): did you mean {meant}?"
        elif key is not None and listed.status in _REFUSES_THE_KEY:
            doubt = f", which refuses backend_api_key ({listed.status})"
        if listed.models and _is_near(url):  # others list their models to anybody
            wants_key = False
    shown = _key_to_show(settings, backend_wants_it=wants_key)
    return _Chosen(url, what + doubt, shown, model or "MODEL", doubtful=bool(doubt))


def _key_to_show(
    settings: Settings, *, backend_wants_it: bool, any_key: str = "any-key-of-yours"
) -> str:
    if settings.accepted_keys:
        return "ONE_OF_ACCEPTED_KEYS"
    if settings.keys_file is not None:
        return "ONE_OF_KEYS_FILE"
    return "YOUR_BACKEND_KEY" if backend_wants_it else any_key


def _is_near(url: str) -> bool:
    """Return whether a backend is on this machine or in its own network, by its name."""
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal"))


def _several(settings: Settings, several: BackendsFile, port: int) -> _Chosen:
    for entry in several.backends:
        _check_not_itself(settings, str(entry.url), port, entry.name)
    names = ", ".join(entry.name for entry in several.backends)
    shown = _key_to_show(settings, backend_wants_it=several.first.pass_client_key)
    model = next((name for name, _ in several.named()), "MODEL")
    return _Chosen(str(several.first.url), names, shown, model, several=several)


def _check_not_itself(settings: Settings, url: str, port: int, what: str) -> None:
    address = httpx.URL(url)
    if address.port == port and address.host in {"localhost", _own_address(settings.host)}:
        raise StartError(f"{what} {url} is this gateway itself")


def _own_address(host: str) -> str:
    """Return how the gateway reaches itself."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared with, not listened on
        return "127.0.0.1" if host != "::" else "[::1]"
    return f"[{host}]" if ":" in host else host


def _greet(settings: Settings, port: int, chosen: _Chosen, *, degraded: bool) -> None:
    """Tell a person how to begin; where only programs read, tell them in one record.

    Args:
        degraded: The store is away, or has not got all that waits for it; the log says so anyway.
    """
    if settings.log_format is LogFormat.JSON:
        url = f"http://{_own_address(settings.host)}:{port}/v1"
        level = logging.WARNING if chosen.doubtful else logging.INFO
        log.log(level, "listening at %s, answering with %s", url, chosen.what)
    else:
        click.echo(_greeting(settings, port, chosen) + (_DEGRADED if degraded else ""))


def _greeting(settings: Settings, port: int, chosen: _Chosen) -> str:
    origin = f"http://{_own_address(settings.host)}:{port}"
    url = f"{origin}/v1"
    answering = f"Answering with {chosen.what}"
    return f"""\
Base URL  {url}
API key   {chosen.key}
Memory    {origin}/memgpt/ (a page for your browser)

curl {url}/chat/completions \\
  -H "Authorization: Bearer {chosen.key}" -H "Content-Type: application/json" \\
  -d '{{"model": "{chosen.model}", "messages": [{{"role": "user", "content": "My name is Sam."}}]}}'

from openai import OpenAI
client = OpenAI(base_url="{url}", api_key="{chosen.key}")
reply = client.chat.completions.create(
    model="{chosen.model}", messages=[{{"role": "user", "content": "What is my name?"}}])
print(reply.choices[0].message.content)

{answering if answering.endswith("?") else f"{answering}."}
Memory is kept in {_where(settings)}, one namespace for each API key. Stop with Ctrl+C."""


def _where(settings: Settings) -> str:
    """Return where memory is kept, for a person; never a password."""
    if not settings.elasticsearch_url:
        return str(settings.data_dir / DATABASE)
    hosts = ", ".join(f"{url.host}:{url.port}" for url in settings.elasticsearch_url)
    return f"Elasticsearch ({hosts})"
