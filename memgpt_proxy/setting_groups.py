"""The settings in groups, in the order in which an operator needs them."""

from __future__ import annotations

GROUPS: dict[str, tuple[str, ...]] = {
    "Backend": (
        "backend_url",
        "backend_api_key",
        "backends_file",
        "backend_profile",
        "context_window",
        "connect_timeout_seconds",
        "first_byte_timeout_seconds",
        "idle_timeout_seconds",
        "max_connections",
    ),
    "Address": (
        "host",
        "port",
        "max_request_mib",
        "keepalive_seconds",
        "drain_seconds",
        "drain_delay_seconds",
    ),
    "Clients and their keys": (
        "accepted_keys",
        "keys_file",
        "anonymous",
        "cors_origins",
        "requests_per_minute",
        "tokens_per_minute",
        "conversation_headers",
        "task_headers",
        "task_prompts",
    ),
    "Data": (
        "data_dir",
        "namespace_secret",
        "durability",
        "cache_mib",
        "traces",
    ),
    "Elasticsearch": (
        "elasticsearch_url",
        "elasticsearch_api_key",
        "elasticsearch_username",
        "elasticsearch_password",
        "elasticsearch_ca_file",
        "elasticsearch_prefix",
        "elasticsearch_shards",
        "journal_mib",
        "when_degraded",
    ),
    "Redis": (
        "redis_url",
        "redis_ca_file",
    ),
    "Search by meaning": (
        "embedding_model",
        "embedding_url",
        "embedding_api_key",
    ),
    "Turns": (
        "reply_mode",
        "clean_turns",
        "max_steps",
        "discarded_replies",
        "time_zone",
    ),
    "Main context": (
        "tokenizer",
        "reply_reserve",
        "pressure_at",
        "flush_at",
        "flush_to",
        "summary_tokens",
        "summary_model",
        "working_context_limit",
        "working_context_rendering",
    ),
    "Logs and spans": (
        "log_level",
        "log_format",
        "access_log",
        "otlp_traces",
    ),
}
"""Names of settings, by what they are about: help and reference show them so."""
