"""The application: everything put together, once, for the life of the process."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

import httpx
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from memgpt_proxy.agent.agent import Agent
from memgpt_proxy.agent.executor import FunctionExecutor
from memgpt_proxy.agent.faculties import Clock, Faculties
from memgpt_proxy.agent.habits import Habits
from memgpt_proxy.agent.opening import Opener
from memgpt_proxy.agent.profiles import Profiles
from memgpt_proxy.agent.queue_manager import QueueManager
from memgpt_proxy.agent.solitary import Solitary
from memgpt_proxy.agent.summarizer import Summarizer
from memgpt_proxy.agent.thinking import ThinkingHabits
from memgpt_proxy.agent.tracing import Tracer
from memgpt_proxy.agent.window import Thresholds, Windows
from memgpt_proxy.api.admission import Admission, LimitedAdmission
from memgpt_proxy.api.authentication import Authenticator, secret_of
from memgpt_proxy.api.chat import ChatCompletions
from memgpt_proxy.api.contents import ContentsRoutes
from memgpt_proxy.api.cross_origin import CrossOrigin, origin_of
from memgpt_proxy.api.endpoint import Endpoint
from memgpt_proxy.api.error_responses import ERROR_HANDLERS
from memgpt_proxy.api.exchanges import CHAT_COMPLETIONS, RESPONSES, Exchanges
from memgpt_proxy.api.hosts import Hosts
from memgpt_proxy.api.idempotency import IdempotencyKeys
from memgpt_proxy.api.issued_keys import IssuedKeys, issued_keys
from memgpt_proxy.api.memory import MemoryRoutes
from memgpt_proxy.api.openapi import openapi_routes
from memgpt_proxy.api.owned import Owners
from memgpt_proxy.api.owner import OwnerRoutes
from memgpt_proxy.api.page import page_routes
from memgpt_proxy.api.passthrough import PREFIX, Passthrough
from memgpt_proxy.api.probes import probe_routes
from memgpt_proxy.api.reading import RequestReader
from memgpt_proxy.api.request_headers import RequestHeaders
from memgpt_proxy.api.responses.endpoint import Responses, StoredResponses
from memgpt_proxy.api.routed import RoutedPassthrough
from memgpt_proxy.api.ui_tasks import TaskPrompts
from memgpt_proxy.backend.client import Backend, Backends, Timeouts
from memgpt_proxy.backend.http1 import Http1Transport, Proxies, UnusableProxy
from memgpt_proxy.backend.several import SeveralBackends
from memgpt_proxy.backends_file import BackendsFile
from memgpt_proxy.config import (
    Discarded,
    Rendering,
    ReplyMode,
    Settings,
    WhenDegraded,
    is_loopback,
)
from memgpt_proxy.draining import Draining
from memgpt_proxy.memory.archival import Archive
from memgpt_proxy.memory.beginnings import Beginnings
from memgpt_proxy.memory.branching import Branching
from memgpt_proxy.memory.erasing import Eraser
from memgpt_proxy.memory.recall import Recall
from memgpt_proxy.memory.results import ResultFormat
from memgpt_proxy.memory.tokens import TokenCounter
from memgpt_proxy.memory.undo import Undo
from memgpt_proxy.memory.users import Users
from memgpt_proxy.memory.working_context import WorkingContextEditor
from memgpt_proxy.storage import Storage, storage
from memgpt_proxy.stores.ending import ended
from memgpt_proxy.stores.limits import Limiter
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.telemetry import Telemetry
from memgpt_proxy.telemetry.spans import Spans
from memgpt_proxy.wrong_settings import SettingsError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The ASGI application: hot and forwarded routes straight, the rest by Starlette.

    Attributes:
        hosts: Which it may be asked by; None for any.
        opened: Holds its resources open; so does its ASGI lifespan.
        degraded: Tells whether its store is away, or has not got all that waits for it.
        draining: Has it refuse requests when it is being stopped.
    """

    chat: ASGIApp
    responses: ASGIApp
    passthrough: ASGIApp
    rest: ASGIApp
    exchanges: Exchanges
    cross_origin: CrossOrigin
    hosts: Hosts | None
    opened: Callable[[], AbstractAsyncContextManager[None]]
    degraded: Callable[[], bool]

    @property
    def draining(self) -> Draining:
        return self.exchanges.draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to whom it is for."""
        if scope["type"] != "http":
            await self.rest(scope, receive, send)
            return
        app = self._route(scope)
        if (origin := origin_of(scope["headers"])) is not None:
            app, send = self.cross_origin.around(app, scope, origin, send)
        if self.hosts is not None:
            app = self.hosts.around(app, scope["headers"])
        await self.exchanges.answer(app, scope, receive, send)

    def _route(self, scope: Scope) -> ASGIApp:
        path: str = scope["path"]
        asked = path.removesuffix("/")  # else what is asked so would be asked without memory
        if asked == CHAT_COMPLETIONS and scope["method"] == "POST":
            return self.chat
        if asked == RESPONSES and scope["method"] == "POST":
            return self.responses
        if f"{path}/".startswith(f"{PREFIX}{PREFIX}/"):
            return self.rest  # of a base URL that is wrong: a backend may take it, without memory
        forwarded = path.startswith(f"{PREFIX}/") and not path.startswith(f"{RESPONSES}/")
        return self.passthrough if forwarded else self.rest


def create_app(
    settings: Settings,
    backend_url: str,
    *,
    clock: Clock | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    routes: Sequence[BaseRoute] = (),
    several: BackendsFile | None = None,
) -> Gateway:
    """Return the gateway in front of ``backend_url``. Its resources open with its lifespan.

    Args:
        several: The backends to be in front of instead.
        clock: Returns the time; the machine's, in the operator's time zone, if None.
        transport: What carries requests to the backend; the gateway's own connections if None.
        routes: Further routes to serve, such as the demo backend's.

    Raises:
        OSError, ValueError: The data directory or the secret in it cannot be used, or something
            is not installed that the settings need.
        SettingsError: The file of keys cannot be used, or a proxy of the environment is none.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    zone = ZoneInfo(settings.time_zone)
    transport = transport or _transport(settings, backend_url, several)
    secret = secret_of(settings)
    issued = issued_keys(settings)
    authenticator = _authenticator(settings, secret, issued)
    telemetry = Telemetry(_spans(settings))
    kept = storage(settings, backend_url, transport, telemetry)
    beginnings = Beginnings()
    clock = clock or (lambda: datetime.now(zone))
    tracer = Tracer(kept.events, kept.traces if settings.traces else None, clock, telemetry)
    admission = _admission(authenticator, kept.limiter, telemetry)
    backends, passthrough = (
        _one(settings, backend_url, transport, admission)
        if several is None
        else _several(settings, several, transport, admission, telemetry)
    )
    eraser = Eraser(kept.store, kept.traces, kept.events)
    users = Users(kept.store)
    agent = _agent(
        settings, backends, kept.store, beginnings, clock, telemetry, tracer, eraser, users
    )
    reader = _reader(settings, authenticator, beginnings)
    endpoint = partial(
        Endpoint, admission=admission, reader=reader, keepalive=settings.keepalive_seconds
    )
    draining = Draining()
    telemetry.streams(lambda: draining.running)
    opened = partial(_opened, kept, secret, transport, telemetry.spans, eraser, issued)
    owners = _owners_routes(settings, authenticator, admission, kept, eraser, users)
    probes = probe_routes(kept.store, telemetry, draining)
    served = [*probes, *owners, *page_routes(), *openapi_routes(), *routes]
    return Gateway(
        chat=endpoint(ChatCompletions(agent, reader, passthrough)),
        responses=endpoint(Responses(agent, reader, kept.store)),
        passthrough=passthrough,
        rest=_starlette(opened, served),
        exchanges=Exchanges(telemetry, draining, settings.access_log),
        cross_origin=CrossOrigin(settings.cors_origins),
        hosts=_hosts(settings),
        opened=opened,
        degraded=lambda: kept.store.degraded,
    )


def _transport(
    settings: Settings, backend_url: str, several: BackendsFile | None
) -> httpx.AsyncBaseTransport:
    """Return what carries requests to models, and tell of the proxies on their way.

    Raises SettingsError for one of these that is none.
    """
    proxies = Proxies(os.environ, own_host=settings.host)
    urls = [backend_url] if several is None else [str(entry.url) for entry in several.backends]
    if settings.embedding_model is not None and settings.embedding_url is not None:
        urls.append(str(settings.embedding_url))
    try:
        for url in urls:
            if (proxy := proxies.to_url(url)) is not None:
                log.info("%s is reached through %s", httpx.URL(url).netloc.decode(), proxy)
    except UnusableProxy as error:
        raise SettingsError(str(error)) from error
    return Http1Transport(settings.max_connections, proxies=proxies)


def _spans(settings: Settings) -> Spans | None:
    """Return where spans come from. Raises ValueError where what sends them is not installed."""
    if not settings.otlp_traces:
        return None
    try:
        from memgpt_proxy.telemetry.otlp import OtlpSpans
    except ModuleNotFoundError as error:
        raise ValueError(
            "otlp_traces needs more: .venv/bin/pip install -e '.[otel]' in the checkout; the image "
            "has it"
        ) from error
    return OtlpSpans()


def _one(
    settings: Settings, url: str, transport: httpx.AsyncBaseTransport, admission: Admission
) -> tuple[Backends, Passthrough]:
    """Return the backend, and what passes the rest through to it."""
    key = settings.backend_api_key
    backend = Backend(
        url,
        transport,
        api_key=key.get_secret_value() if key else None,
        timeouts=_timeouts(settings),
    )
    return backend, Passthrough(backend, admission)


def _several(
    settings: Settings,
    told: BackendsFile,
    transport: httpx.AsyncBaseTransport,
    admission: Admission,
    telemetry: Telemetry,
) -> tuple[Backends, Passthrough]:
    """Return the backends, and what passes the rest through to them."""
    backends = SeveralBackends(told, transport, _timeouts(settings), telemetry.backends)
    max_body = settings.max_request_mib * 2**20
    return backends, RoutedPassthrough(backends, admission, max_body)


def _timeouts(settings: Settings) -> Timeouts:
    return Timeouts(
        settings.connect_timeout_seconds,
        settings.idle_timeout_seconds,
        settings.first_byte_timeout_seconds,
    )


def _authenticator(settings: Settings, secret: bytes, issued: IssuedKeys | None) -> Authenticator:
    accepted = [key.get_secret_value() for key in settings.accepted_keys]
    return Authenticator(secret, accepted, anonymous=settings.anonymous, issued=issued)


def _hosts(settings: Settings) -> Hosts | None:
    """Return the hosts to be asked by, where nothing but the listening address keeps others out."""
    takes_anyone = settings.anonymous or settings.takes_any_key
    if takes_anyone and is_loopback(settings.host):
        return Hosts(settings.cors_origins)
    return None


def _owners_routes(
    settings: Settings,
    authenticator: Authenticator,
    admission: Admission,
    kept: Storage,
    eraser: Eraser,
    users: Users,
) -> Sequence[BaseRoute]:
    """Return what the owner of a key may ask of its memory."""
    owners = Owners(admission, authenticator, users)
    max_body = settings.max_request_mib * 2**20
    told = OwnerRoutes(owners, kept.traces, kept.events, settings.keepalive_seconds)
    contents = ContentsRoutes(
        owners,
        kept.store,
        limit=settings.working_context_limit,
        zone=ZoneInfo(settings.time_zone),
        max_body=max_body,
    )
    whole = MemoryRoutes(owners, eraser, kept.store, kept.records, kept.traces, max_body)
    stored = StoredResponses(admission, authenticator, kept.store)
    return [*told.routes(), *contents.routes(), *whole.routes(), *stored.routes()]


def _reader(
    settings: Settings, authenticator: Authenticator, beginnings: Beginnings
) -> RequestReader:
    return RequestReader(
        authenticator,
        beginnings,
        RequestHeaders(settings.conversation_headers, settings.task_headers),
        TaskPrompts(settings.task_prompts),
        IdempotencyKeys(),
        settings.max_request_mib * 2**20,
    )


def _admission(
    authenticator: Authenticator, limiter: Limiter | None, telemetry: Telemetry
) -> Admission:
    if limiter is None:
        return Admission(authenticator)
    return LimitedAdmission(authenticator, limiter, telemetry)


def _agent(
    settings: Settings,
    backend: Backends,
    store: Store,
    beginnings: Beginnings,
    clock: Clock,
    telemetry: Telemetry,
    tracer: Tracer,
    eraser: Eraser,
    users: Users,
) -> Agent:
    counter = TokenCounter(settings.tokenizer)
    thresholds = Thresholds(
        settings.pressure_at, settings.flush_at, settings.flush_to, settings.reply_reserve
    )
    told = settings.backend_profile
    profiles = Profiles(None if told is None else frozenset(told))
    summarizer = Summarizer(
        backend,
        counter,
        telemetry,
        profiles=profiles,
        tokens=settings.summary_tokens,
        model=settings.summary_model,
    )
    undo = Undo(store)
    faculties = Faculties(
        backend=backend,
        store=store,
        counter=counter,
        executor=_executor(settings, store),
        undo=undo,
        queue_manager=QueueManager(store, summarizer, settings.pressure_at, telemetry),
        windows=Windows(settings.context_window, backend, thresholds),
        habits=Habits(settings.reply_mode),
        clean_habits=Habits(ReplyMode.AUTO),
        thinking=ThinkingHabits(),
        solitary=Solitary(),
        profiles=profiles,
        telemetry=telemetry,
        tracer=tracer,
        eraser=eraser,
        users=users,
        max_steps=settings.max_steps,
        clock=clock,
    )
    rolls_back = settings.discarded_replies is Discarded.ROLL_BACK
    opener = Opener(
        store,
        Branching(store, undo, rolls_back=rolls_back),
        counter,
        beginnings,
        live=settings.working_context_rendering is Rendering.LIVE,
    )
    return Agent(
        faculties,
        opener,
        settings.reply_mode,
        settings.working_context_limit,
        settings.clean_turns,
        refuses=settings.when_degraded is WhenDegraded.REFUSE,
    )


def _executor(settings: Settings, store: Store) -> FunctionExecutor:
    zone = ZoneInfo(settings.time_zone)
    wording = ResultFormat(zone)
    editor = WorkingContextEditor(store)
    return FunctionExecutor(editor, Archive(store, wording), Recall(store, wording, zone))


@asynccontextmanager
async def _opened(
    kept: Storage,
    secret: bytes,
    transport: httpx.AsyncBaseTransport,
    spans: Spans | None,
    eraser: Eraser,
    issued: IssuedKeys | None,
) -> AsyncIterator[None]:
    """Hold the storage and the connections open. Raises StoreError when the store cannot be."""
    async with AsyncExitStack() as stack:
        if spans is not None:
            stack.push_async_callback(asyncio.to_thread, spans.close)
        stack.push_async_callback(transport.aclose)
        await stack.enter_async_context(kept.opened(secret))
        stack.push_async_callback(eraser.close)
        if issued is not None:
            watching = asyncio.get_running_loop().create_task(issued.watch())
            stack.push_async_callback(ended, [watching])
        yield


def _starlette(
    opened: Callable[[], AbstractAsyncContextManager[None]], routes: Sequence[BaseRoute]
) -> Starlette:
    return Starlette(routes=routes, exception_handlers=ERROR_HANDLERS, lifespan=lambda _: opened())
