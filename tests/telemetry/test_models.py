"""Clients name models: they cannot make as many series as they like."""

from __future__ import annotations

from memgpt_proxy.telemetry.models import MOST_MODELS, OTHER, ByModel


def test_models_are_told_apart_once_a_backend_has_accepted_them() -> None:
    models = ByModel(str)
    assert models.of("a") == OTHER
    assert models.accepted("a") == "a"
    assert models.of("a") == "a"


def test_no_more_are_told_apart_than_the_bound() -> None:
    models = ByModel(str)
    labels = {models.accepted(f"model-{number}") for number in range(3 * MOST_MODELS)}
    assert len(labels) == MOST_MODELS + 1
    assert models.of("model-0") == "model-0"
    assert models.of(f"model-{MOST_MODELS}") == OTHER


def test_a_name_that_is_no_label_is_not_told() -> None:
    models = ByModel(str)
    assert models.accepted("x" * 1000) == OTHER
    assert models.accepted("a\nb") == OTHER
