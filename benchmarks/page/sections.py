"""Each benchmark's part of the page: what it says, and what it draws."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.conditions import CHECKOUT
from benchmarks.page.plots import Bars, Lines
from benchmarks.table import rounded

OURS = "gateway, full memory"
PASSED = "gateway, passed through: POST /v1/embeddings"
Found = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Section:
    """One benchmark on the page.

    Attributes:
        name: Of its module, and of its plot's file.
        title: The heading.
        about: What is measured, in a sentence or two.
        tells: What was found, from the figures of a run.
        panels: What is drawn of them.
    """

    name: str
    title: str
    about: str
    tells: Callable[[Found], str]
    panels: Callable[[Found], Sequence[Bars | Lines]]

    @property
    def results(self) -> Path:
        return CHECKOUT / "benchmarks" / self.name / "results"

    def found(self) -> Found | None:
        """The figures of the last whole run; None where there was none."""
        file = self.results / "latest.json"
        return json.loads(file.read_text()) if file.exists() else None

    def table(self) -> str:
        return (self.results / "latest.md").read_text().strip()


def _overhead_tells(found: Found) -> str:
    medians = found["medians"]
    ours = medians[OURS]
    others = [
        f"{ours['requests_per_second'] / medians[label]['requests_per_second']:.1f} times {name}'s"
        for label, name in (("LiteLLM proxy", "LiteLLM"), ("Portkey gateway", "Portkey"))
        if label in medians
    ]
    return (
        f"With full memory, one core answers {rounded(ours['requests_per_second'])} requests a"
        f" second, {' and '.join(others)}; the first token of 64 streams comes"
        f" {rounded(ours['first_text_p50_ms'])} ms later than from the backend itself."
    )


def _overhead_panels(found: Found) -> list[Bars]:
    medians = {label: figures for label, figures in found["medians"].items() if label != "direct"}
    return [
        _bars("Requests a second, 64 clients", medians, "requests_per_second"),
        _bars("CPU for a request, µs", medians, "cpu_per_request_us"),
        _bars("Added latency, 1 client, p50, ms", medians, "latency_1_p50_ms"),
        _bars("Added latency, 1 client, p99, ms", medians, "latency_1_p99_ms"),
        _bars("Added time to first token, 64 streams, p50, ms", medians, "first_text_p50_ms"),
        _bars("CPU for a chunk, µs", medians, "cpu_per_chunk_us"),
    ]


SHOWN = {
    "nginx": "nginx",
    OURS: "memgpt-proxy, full memory",
    PASSED: "memgpt-proxy, passed through",
    "Portkey gateway": "Portkey",
    "LiteLLM proxy": "LiteLLM",
}
"""Rows that are drawn, and what they are called there."""


def _bars(title: str, medians: Mapping[str, Found], figure: str) -> Bars:
    values = {
        name: medians[label][figure]
        for label, name in SHOWN.items()
        if figure in medians.get(label, {})
    }
    return Bars(title, values, frozenset({SHOWN[OURS], SHOWN[PASSED]}), logarithmic=True)


def _fleet_tells(found: Found) -> str:
    figures = found["medians"]["Elasticsearch and Redis"]
    a_core = rounded(1e6 / figures["cpu_per_request_us"])
    return (
        f"With Elasticsearch and Redis a request takes {rounded(figures['cpu_per_request_us'])} µs"
        f" of a gateway's CPU, so that a core would do {a_core} requests a second; the"
        f" first token of 64 streams comes {rounded(figures['first_text_p50_ms'])} ms later, and a"
        f" gateway with 1 000 idle streams has {rounded(figures['streams_mb'])} MB."
    )


def _fleet_panels(found: Found) -> list[Bars]:
    drawn = {
        "CPU for a request, µs": "cpu_per_request_us",
        "Added latency, 1 client, p50, ms": "latency_p50_ms",
        "Added time to first token, 64 streams, p50, ms": "first_text_p50_ms",
        "Memory of a gateway with 1 000 idle streams, MB": "streams_mb",
    }
    medians = found["medians"]
    return [
        Bars(title, {label: row[figure] for label, row in medians.items()}, frozenset(medians))
        for title, figure in drawn.items()
    ]


def _long_tells(found: Found) -> str:
    grown = [points[-1][1] / points[0][1] for points in _own(found).values()]
    last = max(row["length"] for row in found["rows"])
    return (
        f"At message {rounded(last)} a turn costs the gateway"
        f" {min(grown):.1f} to {max(grown):.1f} times what it costs at message"
        f" {min(row['length'] for row in found['rows'])}."
    )


def _long_panels(found: Found) -> list[Lines]:
    reading = [
        (row["length"], median(turn["reading"] for turn in row["cost"]["turns"]) * 1e3)
        for row in found["rows"]
        if row["sends"] == "all of it"
    ]
    across = "message of the conversation"
    return [
        Lines("The gateway's own CPU for a turn", _own(found), across, "ms", logarithmic=False),
        Lines("Beside it: reading a body that has all of it", {READING: reading}, across, "ms"),
    ]


READING = "receiving and parsing it"


def _own(found: Found) -> dict[str, list[tuple[float, float]]]:
    """The gateway's own CPU, in milliseconds, at each length, for each way of sending."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in found["rows"]:
        own = median(turn["gateway"] - turn["reading"] for turn in row["cost"]["turns"])
        lines.setdefault(row["sends"], []).append((row["length"], own * 1e3))
    return lines


def _stores_tells(found: Found) -> str:
    lines = {family: _by_messages(found, family) for family in _families(found)}
    grown = [
        f"{points[-1][1] / points[0][1]:.1f} ({asked}, {family})"
        for family, asked_lines in lines.items()
        for asked, points in asked_lines.items()
        if asked in ("turn read", "turn write")
    ]
    sizes = [row["messages"] for row in found["rows"] if row["namespaces"] == 1]
    return (
        f"At {rounded(max(sizes))} messages, medians are those at {rounded(min(sizes))} times:"
        f" {', '.join(grown)}."
    )


def _stores_panels(found: Found) -> list[Lines]:
    return [
        Lines(family, _by_messages(found, family), "messages of a namespace", "median, ms")
        for family in _families(found)
    ]


def _families(found: Found) -> list[str]:
    return list(dict.fromkeys(row["family"] for row in found["rows"]))


def _by_messages(found: Found, family: str) -> dict[str, list[tuple[float, float]]]:
    """What is asked, with its median at each size of a single namespace."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in found["rows"]:
        if row["family"] == family and row["namespaces"] == 1:
            for asked, times in row["times"].items():
                lines.setdefault(asked, []).append((row["messages"], times["median"]))
    return lines


SECTIONS = (
    Section(
        "overhead",
        "Beside other gateways",
        "One process on one core, the same mock backend and load for each. memgpt-proxy stores a"
        " message and a reply with each request, in its embedded store; the others only forward."
        " Bars are on a logarithmic scale.",
        _overhead_tells,
        _overhead_panels,
    ),
    Section(
        "fleet",
        "A fleet",
        "The same load on one gateway with its embedded store, on one with Elasticsearch and Redis,"
        " and on two of these. Each client has a namespace of its own.",
        _fleet_tells,
        _fleet_panels,
    ),
    Section(
        "long_conversation",
        "As a conversation grows",
        "What a turn costs at message 10 to 10 000, with a window of 8 192 tokens, for three ways"
        " in which clients send their history.",
        _long_tells,
        _long_panels,
    ),
    Section(
        "stores",
        "As a store fills",
        "What turns read and write, and what searches take, one after the other, nothing hot, in"
        " one namespace.",
        _stores_tells,
        _stores_panels,
    ),
)
