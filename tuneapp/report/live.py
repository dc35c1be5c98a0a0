"""What a running study shows: one live table in a terminal, a plain line an ended trial elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tuneapp.studies import Study, Trial, TrialState

Watcher = Callable[[Study], None]
BARS = "▁▂▃▄▅▆▇█"
SHOWN = 6  # curves in the live table
CURVE = 16  # iterations that a sparkline shows
REFRESH = 0.5  # seconds


@contextmanager
def shown(console: Console, quiet: bool = False) -> Iterator[Watcher]:
    """A watcher that draws on `console`; call it as often as you like."""
    if quiet:
        yield lambda study: None
    elif console.is_terminal:
        started, drawn = time.monotonic(), 0.0
        over_at_start: list[int] = []
        with Live(Text("starting Ray …", "dim"), console=console, auto_refresh=False, transient=True) as live:

            def redraw(study: Study) -> None:
                nonlocal drawn
                over_at_start[:] = over_at_start or [_over(study)]
                if time.monotonic() - drawn >= REFRESH:
                    drawn = time.monotonic()
                    live.update(live_table(study, drawn - started, over_at_start[0]), refresh=True)

            yield redraw
    else:
        told: set[int] = set()
        began = time.time()

        def tell(study: Study) -> None:
            for trial in study.trials:
                if trial.ended is None or trial.ended < began or trial.number in told:
                    continue  # what a resumed study brings along is no news
                told.add(trial.number)
                console.print(plain_line(study, trial), highlight=False, soft_wrap=True)

        yield tell


def plain_line(study: Study, trial: Trial) -> str:
    best = study.best
    parts = [
        f"[{_over(study)}/{max(study.request.search.samples, len(study.trials))}]",
        f"trial {trial.number} {trial.state.value}",
    ]
    if (value := study.value(trial)) is not None:
        parts.append(f"{study.metric.name} {value:.4g} after {trial.iterations}")
    if trial.state in (TrialState.DIVERGED, TrialState.FAILED):
        parts.append(trial.reason.splitlines()[0] if trial.reason else "")
    if best is not None:
        parts.append(f"· best {study.value(best):.4g} (trial {best.number})")
    return " ".join(parts)


def live_table(study: Study, seconds: float, over_at_start: int) -> Group:
    """seconds since this life of the study began; over_at_start trials were over by then."""
    counts = study.counts()
    samples = max(study.request.search.samples, counts["total"])
    over = _over(study)
    states = " · ".join(f"{counts[state.value]} {state.value}" for state in TrialState if counts[state.value])
    head = Text.assemble((study.name, "bold"), f"  {over}/{samples} trials: {states or 'none yet'}")
    table = Table(box=None, padding=(0, 1), expand=True)
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column(study.metric.name, justify="right", no_wrap=True)
    table.add_column("curve", no_wrap=True)
    table.add_column("config", overflow="ellipsis", no_wrap=True, ratio=1)
    for trial in _worth_showing(study):
        value = study.value(trial)
        style = "bold green" if trial is study.best else "" if trial.over else "cyan"
        table.add_row(
            str(trial.number),
            trial.state.value,
            "" if value is None else f"{value:.4g}",
            sparkline([value for _, value in trial.curve(study.metric.name)]),
            short_config(study, trial),
            style=style,
        )
    rate = sum(trial.last.get("examples_per_second", 0.0) for trial in study.trials if not trial.over)
    foot = [f"{_clock(seconds)} gone"]
    if over > over_at_start:
        foot.append(f"about {_clock(seconds * (samples - over) / (over - over_at_start))} left")
    if rate:
        foot.append(f"{rate:,.0f} examples/s")
    return Group(head, ProgressBar(total=samples, completed=over), table, Text(" · ".join(foot), "dim"))


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


def _worth_showing(study: Study) -> list[Trial]:
    """The best that ended, then those that run."""
    scored = [(score, trial) for trial in study.trials if (score := study.score(trial)) is not None]
    leaders = sorted(scored, key=lambda pair: pair[0], reverse=True)[: SHOWN // 2]
    running = [trial for trial in study.trials if not trial.over]
    return [trial for _, trial in leaders] + running[-SHOWN:]


def _over(study: Study) -> int:
    return sum(trial.over for trial in study.trials)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
