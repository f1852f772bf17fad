"""What turns share over the life of the process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from memgpt_proxy.agent.executor import FunctionExecutor
from memgpt_proxy.agent.habits import Habits
from memgpt_proxy.agent.profiles import Profiles
from memgpt_proxy.agent.queue_manager import QueueManager
from memgpt_proxy.agent.solitary import Solitary
from memgpt_proxy.agent.thinking import ThinkingHabits
from memgpt_proxy.agent.tracing import Tracer
from memgpt_proxy.agent.window import Windows
from memgpt_proxy.backend.client import Backends
from memgpt_proxy.memory.erasing import Eraser
from memgpt_proxy.memory.tokens import TokenCounter
from memgpt_proxy.memory.undo import Undo
from memgpt_proxy.memory.users import Users
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.telemetry import Telemetry

Clock = Callable[[], datetime]
"""Returns the time, in the operator's time zone."""


@dataclass(frozen=True, slots=True)
class Faculties:
    """What a turn can do, and what is learned for those after it."""

    backend: Backends
    store: Store
    counter: TokenCounter
    executor: FunctionExecutor
    undo: Undo
    queue_manager: QueueManager
    windows: Windows
    habits: Habits
    clean_habits: Habits
    thinking: ThinkingHabits
    solitary: Solitary
    profiles: Profiles
    telemetry: Telemetry
    tracer: Tracer
    eraser: Eraser
    users: Users
    max_steps: int
    clock: Clock
