"""What the dashboard shows: rows of panels, each of which asks Prometheus something."""

from dataclasses import dataclass

ONES = 'instance=~"$instance"'
"""Restricts every query to the replicas that were chosen."""
RATE = "$__rate_interval"


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and how its series are called: ``{{label}}`` stands for a label's value."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph.

    Attributes:
        unit: Grafana's name of it.
        about: What to make of it, in a sentence.
        stacked: The series are parts of one whole.
    """

    title: str
    unit: str
    about: str
    queries: tuple[Query, ...]
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one title."""

    title: str
    panels: tuple[Panel, ...]


def rate(metric: str, *matchers: str) -> str:
    """Return a counter's growth a second."""
    return f"rate({metric}{{{', '.join((ONES, *matchers))}}}[{RATE}])"


def summed(metric: str, *matchers: str, by: str = "") -> str:
    """Return the growth of a counter over all replicas."""
    return f"sum{f' by ({by})' if by else ''} ({rate(metric, *matchers)})"


def quantile(q: float, histogram: str, *matchers: str, by: str = "") -> str:
    """Return a quantile of a histogram over all replicas."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, {summed(f'{histogram}_bucket', *matchers, by=labels)})"


def quantiles(histogram: str, *matchers: str) -> tuple[Query, ...]:
    """Return the median and the tail."""
    return tuple(
        Query(quantile(q, histogram, *matchers), f"p{q * 100:g}") for q in (0.5, 0.95, 0.99)
    )


def ratio(part: str, whole: str) -> str:
    """Return a part of a whole; nothing where there is none."""
    return f"{part} / ({whole} > 0)"


REQUESTS = "http_server_request_duration_seconds"
TURNS = "gen_ai_invoke_agent_duration_seconds"
STEPS = "gen_ai_client_inference_duration_seconds"
CALLS = "gen_ai_execute_tool_duration_seconds"
STORE = "db_client_operation_duration_seconds"
FAILED_STEPS = 'gen_ai_operation_name="chat", error_type!=""'
NO_REDIS = 'db_system_name!="redis"'
OPERATION = "{{db_operation_name}}"
TOKENS = "gen_ai_client_inference_usage"
MODEL = "gen_ai_request_model"

_REQUESTS = Row(
    "Requests",
    (
        Panel(
            "Requests by status",
            "reqps",
            "Status 0: the client left before there was an answer.",
            (
                Query(
                    summed(f"{REQUESTS}_count", by="http_response_status_code"),
                    "{{http_response_status_code}}",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Requests that failed",
            "percentunit",
            "Of all requests, those answered with a 5xx.",
            (
                Query(
                    ratio(
                        summed(f"{REQUESTS}_count", 'http_response_status_code=~"5.."'),
                        summed(f"{REQUESTS}_count"),
                    ),
                    "5xx",
                ),
            ),
        ),
        Panel(
            "Active streams",
            "short",
            "Requests that are being answered: what the autoscaler goes by.",
            (Query(f"memgpt_active_streams{{{ONES}}}", "{{instance}}"),),
            stacked=True,
        ),
        Panel(
            "Refused by limits",
            "reqps",
            "Requests answered with 429, by the limit that their key had reached.",
            (Query(summed("memgpt_limited_requests_total", by="limit"), "{{limit}}"),),
        ),
    ),
)

_TURNS = Row(
    "Turns",
    (
        Panel(
            "Time to first token",
            "s",
            "From a request to the first word of its reply, memory steps in between.",
            quantiles("gen_ai_server_time_to_first_token_seconds"),
        ),
        Panel("Duration of turns", "s", "Until what was said is stored.", quantiles(TURNS)),
        Panel(
            "Steps per turn",
            "short",
            "One is usual. More: memory functions are chained, or the model does not reply.",
            (
                Query(
                    ratio(
                        summed("gen_ai_invoke_agent_inference_calls_sum"),
                        summed("gen_ai_invoke_agent_inference_calls_count"),
                    ),
                    "mean",
                ),
                Query(quantile(0.95, "gen_ai_invoke_agent_inference_calls"), "p95"),
            ),
        ),
        Panel(
            "Turns",
            "ops",
            "Degraded ones ran without memory, or were not stored at once.",
            (
                Query(summed("memgpt_turns_total"), "all"),
                Query(summed("memgpt_degraded_turns_total"), "degraded"),
            ),
        ),
    ),
)

_BACKEND = Row(
    "Backend",
    (
        Panel(
            "Steps: time to first chunk (p95)",
            "s",
            "How long the backend takes to begin.",
            (
                Query(
                    quantile(0.95, "gen_ai_client_inference_time_to_first_chunk_seconds", by=MODEL),
                    f"{{{{{MODEL}}}}}",
                ),
            ),
        ),
        Panel(
            "Failures",
            "ops",
            "Steps that failed: the backend's status, or how it could not be asked.",
            (Query(summed(f"{STEPS}_count", FAILED_STEPS, by="error_type"), "{{error_type}}"),),
            stacked=True,
        ),
        Panel(
            "Tokens",
            "short",
            "A second. What the cache took or gave is part of the input, reasoning of the output.",
            tuple(
                Query(summed(f"{TOKENS}_{kind}_tokens_total"), legend)
                for kind, legend in (
                    ("input", "input"),
                    ("cache_read_input", "cached"),
                    ("cache_write_input", "written to the cache"),
                    ("output", "output"),
                    ("reasoning_output", "reasoning"),
                )
            ),
        ),
        Panel(
            "Prompt cache",
            "percentunit",
            "Of the input, what the backend had in its cache. A fall means that prompts change.",
            (
                Query(
                    ratio(
                        summed(f"{TOKENS}_cache_read_input_tokens_total", by=MODEL),
                        summed(f"{TOKENS}_input_tokens_total", by=MODEL),
                    ),
                    f"{{{{{MODEL}}}}}",
                ),
            ),
        ),
    ),
)

_MEMORY = Row(
    "Memory",
    (
        Panel(
            "Memory functions",
            "ops",
            "What models call.",
            (Query(summed(f"{CALLS}_count", by="gen_ai_tool_name"), "{{gen_ai_tool_name}}"),),
            stacked=True,
        ),
        Panel(
            "Searches (p95)",
            "s",
            "How long a search takes, by its kind.",
            (
                Query(
                    quantile(0.95, CALLS, 'gen_ai_tool_name=~".*_search.*"', by="gen_ai_tool_name"),
                    "{{gen_ai_tool_name}}",
                ),
            ),
        ),
        Panel(
            "Pressure and flushes",
            "ops",
            "A summary that failed has an extract in its place: look at the summary model.",
            (
                Query(summed("memgpt_memory_pressure_alerts_total"), "pressure"),
                Query(summed("memgpt_flushes_total"), "flushes"),
                Query(summed("memgpt_failed_summaries_total"), "failed summaries"),
            ),
        ),
        Panel(
            "Hot memory",
            "percentunit",
            "Turns that read nothing from the store. Low: raise cache_mib.",
            (
                Query(
                    ratio(
                        summed("memgpt_hot_reads_total", 'result="hit"'),
                        summed("memgpt_hot_reads_total"),
                    ),
                    "hits",
                ),
            ),
        ),
    ),
)

_STORE = Row(
    "Store",
    (
        Panel(
            "Operations",
            "ops",
            "What the store is asked for.",
            (Query(summed(f"{STORE}_count", NO_REDIS, by="db_operation_name"), OPERATION),),
            stacked=True,
        ),
        Panel(
            "Latency (p95)",
            "s",
            "By what it is asked for.",
            (
                Query(quantile(0.95, STORE, NO_REDIS, by="db_operation_name"), OPERATION),
                Query(quantile(0.95, STORE, 'db_system_name="redis"'), "Redis"),
            ),
        ),
        Panel(
            "Failures",
            "ops",
            "A StaleVersion is an edit that came second; the model is told. Those of Redis too.",
            (Query(summed(f"{STORE}_count", 'error_type!=""', by="error_type"), "{{error_type}}"),),
            stacked=True,
        ),
        Panel(
            "Away, and what waits",
            "short",
            "Writes refused or put aside and turns not stored are lost to memory: none may rise.",
            (
                Query(f"max (memgpt_store_away{{{ONES}}})", "store away"),
                Query(f"max (memgpt_redis_away{{{ONES}}})", "Redis away"),
                Query(f"max by (journal) (memgpt_journal_waiting_writes{{{ONES}}})", "{{journal}}"),
                Query(f"sum by (queue) (memgpt_queue_length{{{ONES}}})", "{{queue}}"),
                Query(summed("memgpt_journal_refused_writes_total"), "refused a second"),
                Query(summed("memgpt_journal_put_aside_writes_total"), "put aside a second"),
                Query(summed("memgpt_unstored_turns_total"), "turns not stored a second"),
                Query(f"max (memgpt_store_full{{{ONES}}})", "store full"),
            ),
        ),
    ),
)

_PROCESS = Row(
    "Process",
    (
        Panel(
            "CPU",
            "percentunit",
            "Of one core: a gateway uses no more than one.",
            (Query(rate("process_cpu_seconds_total"), "{{instance}}"),),
        ),
        Panel(
            "Memory",
            "bytes",
            "Resident.",
            (Query(f"process_resident_memory_bytes{{{ONES}}}", "{{instance}}"),),
        ),
        Panel(
            "Open files and connections",
            "percentunit",
            "Of those that there may be.",
            (Query(f"process_open_fds{{{ONES}}} / process_max_fds{{{ONES}}}", "{{instance}}"),),
        ),
        Panel(
            "Miss of token counts (p95)",
            "percentunit",
            "Prompt tokens as reported, as part of those counted; above 1.05 is too much.",
            (Query(quantile(0.95, "memgpt_token_count_miss"), "p95"),),
        ),
    ),
)

ROWS = (_REQUESTS, _TURNS, _BACKEND, _MEMORY, _STORE, _PROCESS)
