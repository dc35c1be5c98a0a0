"""`tuneapp fed`: train a federation, or search its hyperparameters."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneapp.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable

    from tuneapp.studies import Observer, Study


def register(app: typer.Typer) -> None:
    app.command()(fed)


def fed(
    dataset: Annotated[str, typer.Argument(help="An image set (`tuneapp data list`).")] = "mnist",
    clients: Annotated[int | None, typer.Option(help="Clients in the federation; 8 by default.")] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Search: trials in all. Without it one federation is trained.")
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(min=1, help="Rounds of a trial that is not stopped; 32 by default."),
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate of the clients; 0.1 by default.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples in a batch; 32 by default.")] = None,
    local_steps: Annotated[int | None, typer.Option(help="Steps a client and round; 8 by default.")] = None,
    local_epochs: Annotated[
        int | None, typer.Option(help="Passes over a client's examples instead of steps.")
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(help="fedavg, fedprox, fedavgm, fedadam or fedyogi.")
    ] = None,
    partition: Annotated[
        str | None,
        typer.Option(help="shared (everyone draws from all examples), iid, dirichlet, shards or quantity."),
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Of dirichlet and quantity: 0.1 is extreme, 100 is equal.")
    ] = None,
    fraction: Annotated[float | None, typer.Option(help="Share of the clients in each round.")] = None,
    model: Annotated[str | None, typer.Option(help="mlp, fedavg_cnn, small_cnn …; mlp by default.")] = None,
    actors: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Client actors of a trial, at most one a client; 0: all clients in one process. By default "
            "as many as the trial has CPUs, from when they pay. The numbers are the same.",
        ),
    ] = None,
    eval_every: Annotated[int | None, typer.Option(min=1, help="Rounds between two evaluations.")] = None,
    val_examples: Annotated[
        int | None, typer.Option(min=1, help="Examples held out for it, a tenth at most; 1,000 by default.")
    ] = None,
    per_client: Annotated[
        bool | None, typer.Option("--per-client", help="Also report the mean and worst tenth of clients.")
    ] = None,
    space: Annotated[Path | None, typer.Option(help="Search-space file; else the one shipped.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Fix a hyperparameter: momentum=0.9. Repeatable.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(help="Search a hyperparameter: lr=float:1e-2:3:log. Repeatable.")
    ] = None,
    warmup: options.Warmup = None,
    search: options.Search = None,
    seed: options.Seed = None,
    repeats: options.Repeats = None,
    scheduler: Annotated[str | None, typer.Option(help="asha, hyperband, median or none.")] = None,
    grace: Annotated[int | None, typer.Option(min=1, help="Rounds before a trial may be stopped.")] = None,
    reduction: options.Reduction = None,
    cpus_per_trial: options.CpusPerTrial = None,
    gpus_per_trial: options.GpusPerTrial = None,
    concurrent: options.Concurrent = None,
    address: options.Address = None,
    data_dir: options.DataDir = None,
    runs_dir: options.RunsDir = options.RUNS,
    name: options.Name = None,
    log: options.Log = None,
    dashboard: options.Dashboard = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Train a federation of clients, averaged each round; with --samples, search its hyperparameters."""
    from tuneapp import session, tasks
    from tuneapp.spaces import SearchSpace, files
    from tuneapp.studies.provenance import cores

    task = tasks.find(f"fed-{dataset}", space, data_dir)
    file = task.file
    searches = samples is not None or space is not None
    searched = file.space if searches else SearchSpace({})
    flags = {
        "clients": clients,
        "lr": lr,
        "batch_size": batch_size,
        "local_steps": local_steps,
        "local_epochs": local_epochs,
        "strategy": strategy,
        "partition": partition,
        "alpha": alpha,
        "fraction": fraction,
        "model": model,
    }
    given = [(flag, value) for flag, value in flags.items() if value is not None]
    if searches and "rounds" in searched.hyperparameters and rounds is not None:
        given.append(("rounds", rounds))
    for name_, value in [
        *given,
        *map(files.parse_param, param or []),
        *map(files.parse_set, set_ or []),
    ]:
        searched = _replace(searched, name_, value)
    if not searches and searched.searched:
        searches = True  # a --param asks for it
    cpus = cpus_per_trial
    if cpus is None and not searches:
        cpus = float(min(cores(), clients or 8))
    workers = actors
    if workers is None:
        workers = int(cpus) if cpus is not None and cpus > 1 else 0
    request = session.make_request(
        task,
        file,
        searched,
        options={
            "data_dir": None if data_dir is None else str(data_dir.absolute()),
            "eval_every": eval_every,
            "val_examples": val_examples,
            "per_client": per_client,
        },
        search={
            "algorithm": search if searches else "random",
            "samples": samples if searches else 1,
            "warmup": warmup,
            "seed": seed,
            "repeats": repeats,
        },
        scheduler={
            "type": scheduler if searches else "none",
            "max_iterations": rounds,
            "grace": grace,
            "reduction": reduction,
        },
        resources={
            "cpus": cpus,
            "gpus": gpus_per_trial,
            "concurrent": concurrent,
            "address": address,
            "actors": workers,
        },
    )
    with ExitStack() as stack:
        if searches:
            show = options.show(stack, quiet or as_json, log, dashboard)
            options.finish(session.start(request, runs_dir, name, sys.argv[1:], show, task=task), as_json)
        else:
            eager = actors is not None or address is not None
            tell = (lambda line: None) if quiet or as_json else _say
            show = session.Show(observer=round_lines(tell))
            study = session.federate(request, runs_dir, name, sys.argv[1:], show, eager)
            _print_federation(study, as_json)
            session.picture_federation(study)
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


def _replace(space: Any, name: str, value: Any) -> Any:
    """The space with a hyperparameter more, or another in its place."""
    from tuneapp.spaces import SearchSpace

    if name in space.hyperparameters:
        return space.replace(name, value)
    return SearchSpace({**space.hyperparameters, name: value}, space.points)


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
