"""The results as a Markdown table and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median

from benchmarks.conditions import Conditions, keep
from benchmarks.long_conversation.client import Sends
from benchmarks.long_conversation.cost import Cost, TurnCost
from benchmarks.long_conversation.store_calls import StoreUse
from benchmarks.table import line, rounded

HEADER = (
    "the client sends",
    "message",
    "request, KB",
    "prompt, KB",
    "reading it, ms",
    "gateway, ms",
    "its own, ms",
    "× first",
    "its own with flushes, ms",
    "store calls",
    "of them to the database",
    "read / written there, KB",
)


@dataclass(frozen=True, slots=True)
class Row:
    """What was found for one way of sending at one length."""

    sends: Sends
    length: int
    cost: Cost
    use: StoreUse

    def own(self) -> float:
        """CPU milliseconds of the common turn, beyond reading its request."""
        return median(map(_own, self.cost.turns))


@dataclass(frozen=True, slots=True)
class Report:
    """All that is kept of one run."""

    conditions: Conditions
    rows: Sequence[Row]

    def write(self, directory: Path) -> None:
        found = {"rows": list(map(asdict, self.rows))}
        keep(directory, self.conditions, self.markdown(), found)

    def markdown(self) -> str:
        first = {row.sends: row.own() for row in reversed(self.rows)}
        rows = [line(_cells(row, first[row.sends])) for row in self.rows]
        table = [line(HEADER), line(["---"] * len(HEADER)), *rows]
        turns = len(self.rows[0].cost.turns)
        about = f"{turns} turns or a few more a row: medians of CPU, means of the rest."
        return "\n".join([*table, "", about, self.conditions.markdown(), ""])


def _cells(row: Row, first: float) -> list[str]:
    turns, use = row.cost.turns, row.use
    return [
        row.sends.value,
        f"{row.length:,}".replace(",", " "),
        rounded(mean(turn.request for turn in turns) / 1e3),
        rounded(row.cost.prompt / 1e3),
        rounded(median(turn.reading for turn in turns) * 1e3),
        rounded(median(turn.gateway for turn in turns) * 1e3),
        rounded(row.own()),
        rounded(row.own() / first),
        rounded(mean(map(_own, turns))),
        rounded(sum(use.asked.values())),
        rounded(sum(use.embedded.values())),
        f"{rounded(use.read / 1e3)} / {rounded(use.written / 1e3)}",
    ]


def _own(turn: TurnCost) -> float:
    return (turn.gateway - turn.reading) * 1e3
