"""What a running study shows: one live table in a terminal, elsewhere a plain line per ended trial."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tuneapp.studies import Asked, Ended, Event, Observer, Study, Trial, TrialState, ranked

BARS = "▁▂▃▄▅▆▇█"
SHOWN = 6  # curves in the live table
CURVE = 16  # iterations that a sparkline shows
REFRESH = 0.5  # seconds


@contextmanager
def shown(console: Console, quiet: bool = False) -> Iterator[Observer]:
    """An observer that shows the study on `console` until the block ends."""
    if quiet:
        yield Observer()
    elif console.is_terminal:
        with Live(Text("starting …", "dim"), console=console, auto_refresh=False, transient=True) as live:
            yield _Terminal(live)
    else:
        yield _Lines(console)


class _Lines(Observer):
    """A plain line for each trial that ends."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def on_event(self, study: Study, event: Event) -> None:
        if isinstance(event, Ended):
            self.tell(plain_line(study, study.trials[event.trial]))

    def tell(self, line: str) -> None:
        self.console.print(line, highlight=False, soft_wrap=True)


class _Terminal(_Lines):
    """One live table."""

    def __init__(self, live: Live) -> None:
        super().__init__(live.console)
        self.live = live
        self.drawn = 0.0
        self.progress: LiveProgress | None = None

    def on_event(self, study: Study, event: Event) -> None:
        self.progress = self.progress or LiveProgress(study)
        self.progress.note(study, event)

    def on_tick(self, study: Study) -> None:
        if time.monotonic() - self.drawn >= REFRESH:
            self.drawn = time.monotonic()
            self.progress = self.progress or LiveProgress(study)
            self.live.update(live_table(study, self.progress), refresh=True)


class LiveProgress:
    """What the table shows, kept up to date event by event: reading all trials would take longer the more
    there are."""

    def __init__(self, study: Study) -> None:
        """study: as this life of it finds it; what is over already is no news."""
        self.began = time.monotonic()
        self.over_at_start = study.over
        self.states = Counter(trial.state for trial in study.trials)
        self.running = {trial.number: trial for trial in study.trials if not trial.over}
        self.leaders = ranked(study.trials, study.metric)[: SHOWN // 2]

    def note(self, study: Study, event: Event) -> None:
        if isinstance(event, Asked):
            self.running[event.trial] = study.trials[event.trial]
        elif isinstance(event, Ended):
            trial = self.running.pop(event.trial, study.trials[event.trial])
            self.states[trial.state] += 1
            self.leaders = ranked([*self.leaders, trial], study.metric)[: SHOWN // 2]

    @property
    def counts(self) -> dict[TrialState, int]:
        return {**self.states, TrialState.RUNNING: len(self.running)}

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


def plain_line(study: Study, trial: Trial) -> str:
    best = study.best
    parts = [
        f"[{study.over}/{max(study.request.search.samples, len(study.trials))}]",
        f"trial {trial.number} {trial.state.value}",
    ]
    if (value := study.value(trial)) is not None:
        parts.append(f"{study.metric.name} {value:.4g} after {trial.iterations}")
    if trial.state in (TrialState.DIVERGED, TrialState.FAILED):
        parts.append(trial.reason.splitlines()[0] if trial.reason else "")
    if best is not None:
        parts.append(f"· best {study.value(best):.4g} (trial {best.number})")
    return " ".join(parts)


def live_table(study: Study, progress: LiveProgress) -> Group:
    samples = max(study.request.search.samples, len(study.trials))
    counts = progress.counts
    states = " · ".join(f"{counts[state]} {state}" for state in TrialState if counts.get(state))
    head = Text.assemble((study.name, "bold"), f"  {study.over}/{samples} trials: {states or 'none yet'}")
    table = Table(box=None, padding=(0, 1), expand=True)
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column(study.metric.name, justify="right", no_wrap=True)
    table.add_column("curve", no_wrap=True)
    table.add_column("config", overflow="ellipsis", no_wrap=True, ratio=1)
    best = study.best
    for trial in [*progress.leaders, *list(progress.running.values())[-SHOWN:]]:
        value = study.value(trial)
        style = "bold green" if trial is best else "" if trial.over else "cyan"
        table.add_row(
            str(trial.number),
            trial.state.value,
            "" if value is None else f"{value:.4g}",
            sparkline([value for _, value in trial.curve(study.metric.name)]),
            short_config(study, trial),
            style=style,
        )
    rate = sum(trial.last.get("examples_per_second", 0.0) for trial in progress.running.values())
    ended = study.over - progress.over_at_start
    foot = [f"{_clock(progress.seconds)} elapsed"]
    if ended > 0:
        foot.append(f"about {_clock(progress.seconds * (samples - study.over) / ended)} left")
    if rate:
        foot.append(f"{rate:,.0f} examples/s")
    return Group(head, ProgressBar(total=samples, completed=study.over), table, Text(" · ".join(foot), "dim"))


def sparkline(values: list[float], width: int = CURVE) -> str:
    """The last `width` values as bars between their least and their greatest."""
    values = [value for value in values if value == value and abs(value) != float("inf")][-width:]
    if not values:
        return ""
    low, span = min(values), max(values) - min(values)
    return "".join(BARS[round((value - low) / span * 7) if span else 3] for value in values)


def short_config(study: Study, trial: Trial) -> str:
    """What is searched of a config; what is fixed is in the run's files."""
    space = study.request.space.get("hyperparameters", {})
    return " ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in trial.config.items()
        if isinstance(space.get(name), dict)
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
