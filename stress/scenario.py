"""What a scenario is, and what it is given: one round, which is drawn from a seed and checks invariants.

A scenario is played in rounds until its time is up. Round ``k`` of a play with seed ``s`` has the seed ``s + k``, and everything
that it does follows from that number: so `--seed N --rounds 1` plays any round again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Final

from meridian import Scheduler, SchedulerConfig, Subgraph
from meridian.testing import VirtualClock, VirtualLoop

if TYPE_CHECKING:
    from meridian import Edge
    from meridian.runtime.report import EdgeReport, RunReport

CONSERVATION: Final = "conservation"
CAPACITY: Final = "capacity"
NO_LOSS: Final = "block loses nothing"
ORDER: Final = "order per producer"
CHECKSUM: Final = "checksums at the sinks"
FAIRNESS: Final = "no starvation beyond the bound"
CONTROL: Final = "CONTROL within one slice"
WAITS: Final = "every wait ends"
REASON: Final = "the run ends for the right reason"
ERRORS: Final = "failures are recorded, and nothing else fails"
TIME: Final = "durations make sense, and ticks come"
LEFT_OVER: Final = "no task, thread or descriptor is left over"
MEMORY: Final = "memory stays flat"

SENTENCES: Final = {
    CONSERVATION: "What was put on an edge, counted by its producer, is what its consumer saw, what waits, what was lost and "
    "what was merged, at each look and at the end.",
    CAPACITY: "No edge ever holds more than its capacity.",
    NO_LOSS: "A blocking edge loses and merges nothing.",
    ORDER: "What one producer sent arrives in the order in which it was sent, and nothing twice.",
    CHECKSUM: "The sum of what arrived is the sum of what was sent.",
    FAIRNESS: "A band with work waits for no more slices of others than sum(fairness_ratio).",
    CONTROL: "A CONTROL message overtakes the data that waits: it is handled within one slice of the work in hand.",
    WAITS: "Whatever waits for room, for a message or for the end goes on: no wake-up is lost.",
    REASON: "The report says finished, shutdown or cancelled, whichever it was.",
    ERRORS: "Each failure that was planned is counted once, and there is no other.",
    TIME: "No duration is negative or longer than the run, and no tick is lost, whatever the clock does.",
    LEFT_OVER: "After a round there are as many tasks, threads and descriptors as before.",
    MEMORY: "Resident memory doesn't grow with the number of messages.",
}
"""Every invariant, and what it says."""

TOLD = 5
"""Violations of one invariant that are told; all are counted."""


@dataclass
class Invariant:
    """How one invariant fared.

    Attributes:
        checks: How often it was looked at.
        broken: How often it didn't hold.
        told: The first violations: the seed of the round, and what was wrong. Counts and names, no payloads.
    """

    checks: int = 0
    broken: int = 0
    told: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])


@dataclass
class Meter:
    """What is watched from another thread while a scenario is played.

    Attributes:
        messages: Messages that arrived so far.
        deepest: Most messages that waited on all edges at any look since the watch last read it.
        beats: Grows whenever something moves.
    """

    messages: int = 0
    deepest: int = 0
    beats: int = 0


@dataclass(frozen=True)
class Scenario:
    """One way to be hard on Meridian.

    Attributes:
        name: Of its module, with hyphens.
        sentence: What it does.
        play: Plays one round.
        invariants: What it promises to look at; one that is never looked at counts as broken.
        virtual: It runs in virtual time, where waiting costs nothing and a wait without end is known at once.
        leaves: Bytes of resident memory that a message may leave behind; not judged if ``None``. Where it is judged, there is a
            collection and a reading after each round.
        least: Rounds that are played however long they take; together they look at every invariant.
        seconds: Of a play in the short form, the usual one, and the nightly one.
    """

    name: str
    sentence: str
    play: Callable[[Round], Awaitable[None]]
    invariants: tuple[str, ...]
    virtual: bool = True
    leaves: float | None = None
    least: int = 1
    seconds: tuple[float, float, float] = (1.0, 7.0, 60.0)


class Account:
    """What a scenario itself knows of one edge, against which the runtime's own count is held.

    Args:
        edge: The edge.
        sent: Tells how many items its producer has handed on.
        seen: Tells how many items its consumer has been given.
        exact: Between two slices the two counts are exact, because neither end is asynchronous.
        blocks: The edge blocks, so it must lose nothing.

    Attributes:
        most: The most that it may hold: its capacity, or the largest one that it ever had.
    """

    def __init__(
        self, edge: Edge[Any], sent: Callable[[], int], seen: Callable[[], int], *, exact: bool, blocks: bool
    ) -> None:
        self.edge = edge
        self.id = edge.id
        self.sent = sent
        self.seen = seen
        self.exact = exact
        self.blocks = blocks
        self.most = edge.capacity

    def look(self, round: Round, found: EdgeReport, parked: int, *, over: bool) -> None:
        """Hold the report of the edge against what is known.

        Args:
            round: Which takes the verdicts.
            found: What the runtime says.
            parked: What the producing node was asked to send and waits for room with.
            over: The run has ended, so that the counts have to be exact.
        """
        sent, seen, lost = self.sent(), self.seen(), sum(found.lost.values())
        gone = seen + found.depth + lost + found.merged
        if over or self.exact:
            holds = sent - parked == gone and found.accepted == sent - parked and found.delivered == seen
        else:  # some of it is in the hands of a coroutine
            holds = gone <= sent and found.accepted <= sent and seen <= found.delivered
        round.check(
            CONSERVATION,
            holds,
            f"edge {self.id}: {sent} sent ({parked} parked), {seen} seen, depth {found.depth}, lost {lost}, merged "
            f"{found.merged}; reported: {found.accepted} accepted, {found.delivered} delivered",
        )
        round.check(
            CAPACITY,
            found.depth <= self.most,
            f"edge {self.id} holds {found.depth} of {self.most}",
        )
        if self.blocks:
            round.check(
                NO_LOSS,
                not lost and not found.merged,
                f"edge {self.id} blocks, and lost {lost}, merged {found.merged}",
            )


class Round:
    """One round: where its randomness and time come from, and where its verdicts go.

    Attributes:
        seed: All that is drawn follows from it.
        random: Draws.
        meter: Counts what arrived.
        invariants: Verdicts so far, of all rounds.
        accounts: Edges that are looked at.
    """

    def __init__(self, name: str, seed: int, meter: Meter, invariants: dict[str, Invariant]) -> None:
        self.seed = seed
        self.random = Random(f"{name} {seed}")
        self.meter = meter
        self.invariants = invariants
        self.accounts: list[Account] = []
        self._scheduler: Scheduler | None = None

    # ---- verdicts --------------------------------------------------------------------------------------------

    def check(self, invariant: str, holds: bool, otherwise: str) -> bool:
        """Count one look at an invariant; ``otherwise`` says what was wrong."""
        verdict = self.invariants[invariant]
        verdict.checks += 1
        if not holds:
            verdict.broken += 1
            if len(verdict.told) < TOLD:
                verdict.told.append((self.seed, otherwise))
        return holds

    def arrived(self, n: int) -> None:
        """Say that so many messages came to an end."""
        self.meter.messages += n
        self.meter.beats += 1

    # ---- looking -----------------------------------------------------------------------------------------------

    def account(
        self,
        edge: Edge[Any],
        sent: Callable[[], int],
        seen: Callable[[], int],
        *,
        exact: bool = True,
        blocks: bool = True,
    ) -> Account:
        """Look at ``edge`` from now on; arguments as for `Account`, which is returned."""
        made = Account(edge, sent, seen, exact=exact, blocks=blocks)
        self.accounts.append(made)
        return made

    def look_soon(self) -> None:
        """Look at all accounts before the next slice; call it from a handler, as often as you like."""
        asyncio.get_running_loop().call_soon(self.look)

    def look(self) -> None:
        """Hold what the runtime reports against what is known; call it between two slices."""
        report = None if self._scheduler is None else self._scheduler.report()
        if report is not None:
            self._compare(report, over=report.status == "stopped")

    def _compare(self, report: RunReport, *, over: bool) -> None:
        edges = {edge.id: edge for edge in report.edges}
        parked = {node.name: node.parked for node in report.nodes}
        for account in self.accounts:
            account.look(self, edges[account.id], parked[account.edge.source_node], over=over)
        self.meter.deepest = max(self.meter.deepest, sum(edge.depth for edge in report.edges))
        self.meter.beats += 1

    # ---- running -----------------------------------------------------------------------------------------------

    def scheduler(self, *graphs: Subgraph, config: SchedulerConfig | None = None) -> Scheduler:
        """Make a scheduler for ``graphs`` on the clock of this round; looks are looks at its run."""
        loop = asyncio.get_running_loop()
        clock: VirtualClock | None = loop.clock if isinstance(loop, VirtualLoop) else None
        made = Scheduler(config, clock=clock, random=Random(self.random.random()))
        for each in graphs:
            made.register(each)
        return self.watched(made)

    def watched(self, scheduler: Scheduler) -> Scheduler:
        """Let looks be looks at what ``scheduler`` runs, and return it."""
        self._scheduler = scheduler
        return scheduler

    async def run(
        self,
        *graphs: Subgraph,
        config: SchedulerConfig | None = None,
        reason: str = "finished",
        errors: int | None = 0,
    ) -> RunReport:
        """Run ``graphs`` to their end and look at it.

        Args:
            graphs: What to run.
            config: How.
            reason: Why the run is to end.
            errors: How many failures there are to be; ``None`` if that isn't known.
        """
        return self.ended(
            await self.scheduler(*graphs, config=config).run_async(), reason=reason, errors=errors
        )

    def ended(
        self, report: RunReport | None, *, reason: str = "finished", errors: int | None = 0
    ) -> RunReport:
        """Look at the end of a run; arguments as for `run`."""
        assert report is not None  # each round has a scheduler of its own, so it wasn't running already
        waiting = sorted(node.waits_for for node in report.nodes if node.waits_for is not None)
        self.check(
            REASON,
            report.reason == reason,
            f"{report.reason!r} instead of {reason!r}; left {sum(report.left.values())}, waiting for {waiting[:5]}",
        )
        if reason == "finished":
            self.check(
                WAITS,
                report.reason == reason and not report.left,
                f"{report.reason}, and {sum(report.left.values())} messages are left",
            )
        if errors is not None:
            self.check(ERRORS, report.errors_total == errors, f"{report.errors_total} failures, not {errors}")
        self._compare(report, over=True)
        return report
