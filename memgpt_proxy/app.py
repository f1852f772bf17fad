"""The application: everything put together, once, for the life of the process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

import httpx
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from memgpt_proxy.agent.agent import Agent
from memgpt_proxy.agent.executor import FunctionExecutor
from memgpt_proxy.agent.habits import Habits
from memgpt_proxy.agent.opening import Opener
from memgpt_proxy.agent.queue_manager import QueueManager
from memgpt_proxy.agent.running import Clock, Faculties
from memgpt_proxy.agent.summarizer import Summarizer
from memgpt_proxy.agent.tracing import Tracer
from memgpt_proxy.agent.window import Thresholds, Windows
from memgpt_proxy.api.admission import Admission, LimitedAdmission
from memgpt_proxy.api.authentication import Authenticator, load_secret, secret_of
from memgpt_proxy.api.chat import ChatCompletions
from memgpt_proxy.api.owner import OwnerRoutes
from memgpt_proxy.api.passthrough import PREFIX, Passthrough
from memgpt_proxy.api.request_headers import RequestHeaders
from memgpt_proxy.api.ui_tasks import TaskPrompts
from memgpt_proxy.backend.client import Backend, Timeouts
from memgpt_proxy.backend.http1 import Http1Transport
from memgpt_proxy.config import Discarded, Durability, Rendering, Settings
from memgpt_proxy.errors import GatewayError
from memgpt_proxy.memory.archival import Archive
from memgpt_proxy.memory.beginnings import Beginnings
from memgpt_proxy.memory.branching import Branching
from memgpt_proxy.memory.recall import Recall
from memgpt_proxy.memory.results import ResultFormat
from memgpt_proxy.memory.tokens import TokenCounter
from memgpt_proxy.memory.undo import Undo
from memgpt_proxy.memory.working_context import WorkingContextEditor
from memgpt_proxy.stores.events import Events, LocalEvents
from memgpt_proxy.stores.hot import HotStore
from memgpt_proxy.stores.limits import LocalLimiter, Rates
from memgpt_proxy.stores.protocols import Store, StoreError
from memgpt_proxy.stores.redis import RedisConnection, connect
from memgpt_proxy.stores.redis.events import RedisEvents
from memgpt_proxy.stores.redis.limits import RedisLimiter
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.stores.trace_writer import TraceWriter
from memgpt_proxy.telemetry import Telemetry

DATABASE = "memory.db"
"""The embedded store's file in the data directory."""

CHAT_COMPLETIONS = f"{PREFIX}/chat/completions"


@dataclass(frozen=True, slots=True)
class Gateway:
    """The ASGI application: hot and forwarded routes straight, the rest by Starlette.

    Attributes:
        opened: Holds its resources open; so does its ASGI lifespan.
    """

    chat: ASGIApp
    passthrough: ASGIApp
    rest: ASGIApp
    opened: Callable[[], AbstractAsyncContextManager[None]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to whom it is for."""
        if scope["type"] != "http":
            await self.rest(scope, receive, send)
            return
        path: str = scope["path"]
        if path == CHAT_COMPLETIONS and scope["method"] == "POST":
            await self.chat(scope, receive, send)
        elif path.startswith(f"{PREFIX}/"):
            await self.passthrough(scope, receive, send)
        else:
            await self.rest(scope, receive, send)


def create_app(
    settings: Settings,
    backend_url: str,
    *,
    clock: Clock | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    routes: Sequence[BaseRoute] = (),
) -> Gateway:
    """Return the gateway in front of ``backend_url``. Its resources open with its lifespan.

    Args:
        clock: Returns the time; the machine's, in the operator's time zone, if None.
        transport: What carries requests to the backend; the gateway's own connections if None.
        routes: Further routes to serve, such as the demo backend's.

    Raises:
        OSError, ValueError: The data directory or the secret in it cannot be used.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    zone = ZoneInfo(settings.time_zone)
    transport = transport or Http1Transport(settings.max_connections)
    backend = _backend(settings, backend_url, transport)
    authenticator = _authenticator(settings)
    embedded = _embedded(settings)
    store = HotStore(embedded, settings.cache_mib * 2**20)
    redis = _redis(settings)
    events = RedisEvents(redis) if redis else LocalEvents()
    traces = TraceWriter(embedded)
    telemetry = Telemetry()
    beginnings = Beginnings()
    clock = clock or (lambda: datetime.now(zone))
    tracer = Tracer(events, traces if settings.traces else None, clock)
    agent = _agent(settings, backend, store, beginnings, clock, telemetry, tracer)
    admission = _admission(settings, authenticator, redis, telemetry)
    passthrough = Passthrough(backend, admission)
    chat = ChatCompletions(
        agent,
        admission,
        authenticator,
        passthrough,
        beginnings,
        RequestHeaders(settings.conversation_headers, settings.task_headers),
        TaskPrompts(settings.task_prompts),
        settings.max_request_mib * 2**20,
        settings.keepalive_seconds,
    )
    opened = partial(_opened, store, transport, redis, events, traces)
    owner_routes = OwnerRoutes(authenticator, store, traces, events, settings.keepalive_seconds)
    rest = _starlette(store, telemetry, opened, [*owner_routes.routes(), *routes])
    return Gateway(chat, passthrough, rest, opened)


def _backend(settings: Settings, url: str, transport: httpx.AsyncBaseTransport) -> Backend:
    key = settings.backend_api_key
    return Backend(
        url,
        transport,
        api_key=key.get_secret_value() if key else None,
        timeouts=Timeouts(settings.connect_timeout_seconds, settings.idle_timeout_seconds),
    )


def _authenticator(settings: Settings) -> Authenticator:
    accepted = [key.get_secret_value() for key in settings.accepted_keys]
    given = settings.namespace_secret
    secret = (
        secret_of(given.get_secret_value())
        if given
        else load_secret(settings.data_dir / "namespace.secret")
    )
    return Authenticator(secret, accepted, anonymous=settings.anonymous)


def _redis(settings: Settings) -> RedisConnection | None:
    if settings.redis_url is None:
        return None
    return connect(settings.redis_url.get_secret_value(), settings.redis_ca_file)


def _admission(
    settings: Settings,
    authenticator: Authenticator,
    redis: RedisConnection | None,
    telemetry: Telemetry,
) -> Admission:
    rates = Rates(settings.requests_per_minute, settings.tokens_per_minute)
    if rates == Rates():
        return Admission(authenticator)
    limiter = RedisLimiter(redis, rates) if redis else LocalLimiter(rates)
    return LimitedAdmission(authenticator, limiter, telemetry)


def _embedded(settings: Settings) -> SqliteStore:
    return SqliteStore(
        settings.data_dir / DATABASE,
        synchronous="full" if settings.durability is Durability.POWER else "normal",
    )


def _agent(
    settings: Settings,
    backend: Backend,
    store: Store,
    beginnings: Beginnings,
    clock: Clock,
    telemetry: Telemetry,
    tracer: Tracer,
) -> Agent:
    counter = TokenCounter(settings.tokenizer)
    thresholds = Thresholds(
        settings.pressure_at, settings.flush_at, settings.flush_to, settings.reply_reserve
    )
    summarizer = Summarizer(
        backend, counter, telemetry, tokens=settings.summary_tokens, model=settings.summary_model
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
        telemetry=telemetry,
        tracer=tracer,
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
    return Agent(faculties, opener, settings.reply_mode, settings.working_context_limit)


def _executor(settings: Settings, store: Store) -> FunctionExecutor:
    zone = ZoneInfo(settings.time_zone)
    wording = ResultFormat(zone)
    editor = WorkingContextEditor(store)
    return FunctionExecutor(editor, Archive(store, wording), Recall(store, wording, zone))


@asynccontextmanager
async def _opened(
    store: Store,
    transport: httpx.AsyncBaseTransport,
    redis: RedisConnection | None,
    events: Events,
    traces: TraceWriter,
) -> AsyncIterator[None]:
    """Hold the store and the connections open. Raises StoreError when the store cannot be."""
    async with AsyncExitStack() as stack:
        stack.push_async_callback(transport.aclose)
        if redis:
            stack.push_async_callback(redis.close)
        await store.open()
        stack.push_async_callback(store.close)
        await traces.open()
        stack.push_async_callback(traces.close)
        await events.open()
        stack.push_async_callback(events.close)
        yield


def _starlette(
    store: Store,
    telemetry: Telemetry,
    opened: Callable[[], AbstractAsyncContextManager[None]],
    routes: Sequence[BaseRoute],
) -> Starlette:
    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def metrics(request: Request) -> Response:
        told, kind = telemetry.exposition(request.headers.get("accept", ""))
        return Response(told, headers={"content-type": kind})

    async def readyz(_: Request) -> Response:
        try:
            await store.ping()
        except StoreError:
            return JSONResponse({"status": "unavailable", "store": "away"}, status_code=503)
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            *routes,
        ],
        exception_handlers={HTTPException: _http_error, GatewayError: _gateway_error},
        lifespan=lambda _: opened(),
    )


async def _gateway_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, GatewayError):
        raise error
    headers = {name.decode(): value.decode() for name, value in error.headers}
    kind = {"content-type": "application/json"}
    return Response(error.body(), status_code=error.status, headers={**kind, **headers})


async def _http_error(request: Request, error: Exception) -> Response:
    """Answer unknown routes in OpenAI's shape, like everything else."""
    if not isinstance(error, HTTPException):
        raise error
    message = f"{error.detail}: {request.method} {request.url.path}. The API is under {PREFIX}."
    body = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return JSONResponse({"error": body}, status_code=error.status_code, headers=error.headers)
