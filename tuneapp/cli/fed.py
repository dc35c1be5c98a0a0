"""`tuneapp fed`: train a federation, or search its hyperparameters."""

import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneapp.cli import options
from tuneapp.cli.flags import takes_settings
from tuneapp.declarations import Setting

if TYPE_CHECKING:
    from collections.abc import Callable

    from tuneapp.settings import Request, RunSettings, Settings
    from tuneapp.studies import Observer, Study

# Keywords that say nothing of one federation, which runs alone and in this process.
OF_A_SEARCH = (
    "search",
    "warmup",
    "repeats",
    "warmup_design",
    "deterministic",
    "lag",
    "scheduler",
    "grace",
    "reduction",
    "time",
    "until",
    "patience",
    "keep_going",
    "concurrent",
    "trial_timeout",
    "log",
    "dashboard",
)


def register(app: typer.Typer) -> None:
    app.command()(fed)


@dataclass(frozen=True)
class FederationFlags:
    """Hyperparameters that have a flag of their own, short for --set; their defaults are FedConfig's."""

    clients: Annotated[int | None, Setting("Clients in the federation.", "Federation", default="8")] = None
    partition: Annotated[
        str | None,
        Setting(
            "How examples are dealt to clients; shared: everyone draws from all examples.",
            "Federation",
            choices="tuneapp.federated.partitions:PARTITIONS",
            default="shared",
        ),
    ] = None
    alpha: Annotated[
        float | None,
        Setting(
            "How equal the clients are, of partitions dirichlet and quantity: 0.1 is extreme, 100 is equal.",
            "Federation",
            default="0.5",
        ),
    ] = None
    fraction: Annotated[
        float | None,
        Setting("Share of the clients that takes part in each round.", "Federation", default="1"),
    ] = None
    strategy: Annotated[
        str | None,
        Setting(
            "What the server does with the clients' updates.",
            "Federation",
            choices="tuneapp.federated.strategies:STRATEGIES",
            default="fedavg",
        ),
    ] = None
    lr: Annotated[float | None, Setting("Learning rate of the clients.", "Federation", default="0.1")] = None
    batch_size: Annotated[int | None, Setting("Examples per batch.", "Federation", default="32")] = None
    local_steps: Annotated[int | None, Setting("Steps per client and round.", "Federation", default="8")] = (
        None
    )
    local_epochs: Annotated[
        int | None,
        Setting("Passes over a client's examples, instead of steps.", "Federation", default="steps count"),
    ] = None


@takes_settings("fed")
def fed(
    federation: FederationFlags,
    what: options.What,
    given: dict[str, Any],
    dataset: Annotated[str, typer.Argument(help="An image set (`tuneapp data list`).")] = "mnist",
    as_json: options.Json = False,
) -> None:
    """Train a federation of clients, averaged each round; with --samples, search its hyperparameters."""
    from tuneapp import session, tasks
    from tuneapp.settings import Settings, by_section
    from tuneapp.spaces import SearchSpace, files

    file = files.load(what.space or "fed")
    data_dir = given.get("data_dir") or file.options.get("data_dir")
    subject = tasks.find(f"fed-{dataset}", file, None if data_dir is None else Path(data_dir))
    searches = "samples" in given or what.space is not None
    searched = file.space if searches else SearchSpace({})
    flags = {name: value for name, value in asdict(federation).items() if value is not None}
    if "rounds" in searched.hyperparameters and "max_iterations" in given:
        flags["rounds"] = given["max_iterations"]
    for name, value in flags.items():
        searched = searched.with_(name, value)
    searched = what.applied(searched, extends=True)
    searches = searches or bool(searched.searched)  # a --param asks for it
    alone = {} if searches else _alone(given, federation.clients or 8)
    settings = Settings.of(file.sections, by_section(given, "fed"), alone)
    if "actors" not in given and "actors" not in file.resources:
        settings = _with_actors(settings)
    request, notes = session.make_request(subject, searched, settings)
    run = settings.run
    if not searches:
        _train(request, run, as_json, notes, eager="actors" in given or "address" in given)
        return
    with ExitStack() as stack:
        show = options.show(stack, run, as_json, notes)
        study = session.start(request, run.runs_dir, run.name, sys.argv[1:], show, run.backend, subject)
    options.finish(study, as_json)


def _with_actors(settings: "Settings") -> "Settings":
    """One client actor per CPU of a trial, where there are several and Ray is there to run them."""
    cpus = settings.resources.cpus
    actors = int(cpus) if cpus > 1 and settings.run.backend == "ray" else 0
    return replace(settings, resources=replace(settings.resources, actors=actors))


def _alone(given: dict[str, Any], clients: int) -> dict[str, dict[str, Any]]:
    """The settings of one federation. Raises UsageError for those that only a search has."""
    from tuneapp.errors import UsageError
    from tuneapp.settings import all_settings
    from tuneapp.studies.provenance import cores

    for keyword in given:
        if keyword in OF_A_SEARCH:
            raise UsageError(
                f"`{all_settings()[keyword].flags('fed')[0]}` is for a search, but without --samples one "
                "federation is trained; add --samples, or leave it out."
            )
    alone: dict[str, dict[str, Any]] = {
        "search": {"algorithm": "random", "samples": 1},
        "scheduler": {"type": "none"},
    }
    if "cpus" not in given:
        alone["resources"] = {"cpus": float(min(cores(), clients))}
    return alone


def _train(request: "Request", run: "RunSettings", as_json: bool, notes: list[str], eager: bool) -> None:
    """Train one federation; eager: its client actors start before the first round, not when they pay."""
    from tuneapp import session

    tell = (lambda line: None) if run.quiet or as_json else _say
    for note in notes:
        tell(note)
    show = session.Show(round_lines(tell), pictures=run.pictures)
    study = session.federate(request, run.runs_dir, run.name, sys.argv[1:], show, eager)
    _print_federation(study, as_json)
    session.plot_federation(study, show)
    tell(f"report {study.folder}/report.html")
    options.leave(study)


def _print_federation(study: "Study", as_json: bool) -> None:
    """The result at once: the report takes as long again as a short federation does."""
    import json

    if as_json:
        typer.echo(json.dumps(options.outcome(study), indent=2))
        return
    trial = study.trials[0]
    typer.echo(f"{study.name}: {trial.state}{', ' if trial.reason else ''}{trial.reason}")
    if trial.history:
        last = trial.last
        typer.echo(f"after {trial.iterations} rounds and {trial.seconds:.1f} s:")
        typer.echo(f"  validation  accuracy {last['val_accuracy']:.2%}, loss {last['val_loss']:.4f}")
    if study.test:
        test = study.test
        typer.echo(
            f"  test        accuracy {test['test_accuracy']:.2%}, loss {test['test_loss']:.4f} (read once)"
        )
        typer.echo(f"weights {study.folder}/best/model.safetensors")


def _say(line: str) -> None:
    typer.echo(line, err=True)


def round_lines(tell: "Callable[[str], None]") -> "Observer":
    """An observer that tells one line per round."""
    from tuneapp.studies import Event, Observer, Reported, Study

    class Rounds(Observer):
        def on_event(self, study: Study, event: Event) -> None:
            if not isinstance(event, Reported):
                return
            metrics = event.metrics
            restarts = int(metrics["actor_restarts"])
            tell(
                f"round {event.iteration:>4}/{study.request.scheduler.max_iterations}"
                f"  loss {metrics['train_loss']:8.4f}  val accuracy {metrics['val_accuracy']:7.2%}"
                f"  {metrics['client_updates_per_second']:8,.0f} client updates/s"
                + (f"  {restarts} client actors died and were started anew" if restarts else "")
            )

        def tell(self, line: str) -> None:
            tell(line)

    return Rounds()
