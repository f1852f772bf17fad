"""The checks that settings need, and what is told of them."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Iterator
from functools import partial

import click

from memgpt_proxy.checking import elasticsearch, local, models, redis
from memgpt_proxy.checking.findings import Check, Finding, Level, carry_out, ok, warn
from memgpt_proxy.config import Settings
from memgpt_proxy.settings_sources import unknown_variables


def check(settings: Settings) -> bool:
    """Carry out the checks and print what they find; return whether nothing fails."""
    logging.getLogger("memgpt_proxy").addHandler(logging.NullHandler())  # findings say it all
    findings = [*_settings(), *asyncio.run(carry_out(checks_of(settings)))]
    for finding in findings:
        click.echo(finding)
    click.echo(_summary(findings))
    return not any(finding.level is Level.FAIL for finding in findings)


def _settings() -> list[Finding]:
    """Settings are valid when checks begin; what is none of them may have been meant as one."""
    unknown = unknown_variables(os.environ)
    told = [warn("settings", f"{name}: {what}") for name, what in unknown.items()]
    return told or [ok("settings", "valid")]


def checks_of(settings: Settings) -> Iterator[Check]:
    """Yield the checks that these settings need."""
    yield Check(local.DIRECTORY, partial(local.data_directory, settings))
    yield Check(local.SECRET, partial(local.namespace_secret, settings))
    if settings.keys_file is not None:
        yield Check(local.KEYS, partial(local.issued_keys, settings.keys_file))
    yield Check(models.BACKEND, partial(models.backend, settings))
    if settings.embedding_model is not None:
        yield Check(models.EMBEDDINGS, partial(models.embedding_model, settings))
    if settings.elasticsearch_url:
        yield Check(elasticsearch.PART, partial(elasticsearch.elasticsearch, settings))
    else:
        yield Check(local.STORE, partial(local.embedded_store, settings))
    if settings.elasticsearch_url or settings.redis_url is not None:
        yield Check(redis.PART, partial(redis.redis, settings))


def _summary(findings: list[Finding]) -> str:
    counted = Counter(finding.level for finding in findings)
    if not counted[Level.FAIL] + counted[Level.WARN]:
        return "All is well."
    return f"{counted[Level.FAIL]} failed, {counted[Level.WARN]} to look at."
