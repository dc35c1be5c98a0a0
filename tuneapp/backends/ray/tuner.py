"""Runs a study with Ray Tune, from its first trial or from wherever its record ends."""

import logging
import re
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from ray import tune
from ray.tune.callback import Callback

from tuneapp.backends import checkpoints, machine
from tuneapp.backends.ray import client_actors, cluster, schedulers
from tuneapp.backends.ray.loggers import build as build_loggers
from tuneapp.backends.ray.recorder import Recorder
from tuneapp.backends.ray.searcher import AskTell
from tuneapp.backends.ray.trainable import TrialActor
from tuneapp.backends.record import Listener, Record, Watcher, close, plan, search_of, tell_of_idle_workers
from tuneapp.errors import TuneappError, first_line
from tuneapp.studies import RunDirectory, Study, TrialState

UNLIMITED = 10**9  # the search ends a study, not Ray
WORKER_RESTARTS = 2  # of one trial whose process dies, from its checkpoint
# Trials that wait for a worker where nothing is learnt from results. Ray gives a free worker to a trial
# that waits, and ends the one being started for it: with none in store, short trials start workers always.
IN_STORE = 8
MOST_FITS = 20  # times Ray's loop may break down in one run


def run(
    run_directory: RunDirectory,
    watchers: list[Watcher] | None = None,
    loggers: list[str] | None = None,
    dashboard: bool | None = False,
    listeners: list[Listener] | None = None,
    function: bytes | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Study:
    """Run all trials that the request asks for and the record does not hold yet; returns the study.

    listeners are called after the end of each trial; `function` is the objective of a task that was passed by
    value, pickled; `tell` takes what the user should hear. A study whose trials are not all over was
    interrupted; calling this again goes on. Raises UsageError where the cluster can't serve a trial,
    TuneappError where Ray breaks down again and again.
    """
    study = run_directory.read()
    resources = study.request.resources
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # what went wrong is in our record
    with (
        run_directory.lock(),
        cluster.connected(resources, dashboard, tell, study.request.options.get("folder")) as have,
    ):
        run_directory.mend()
        callbacks = build_loggers(loggers or [], run_directory.path)
        at_once = machine.concurrency(resources, have)
        tell_of_idle_workers(study, at_once, tell)
        plan(run_directory, study, at_once)
        for _ in range(MOST_FITS):
            iterations_before = _iterations(study)
            error = _fit(
                run_directory, study, at_once, have, watchers or [], listeners or [], callbacks, function
            )
            if error is None:
                break
            stuck = _iterations(study) == iterations_before
            _fail_the_killed(run_directory, study, str(error), or_all=stuck)
        else:
            raise TuneappError(
                f"Ray broke down {MOST_FITS} times ({error}); what was found so far is kept, and "
                f"`tuneapp resume {run_directory.path.name}` goes on."
            )
        close(run_directory, study)
    return study


def _fit(
    run_directory: RunDirectory,
    study: Study,
    at_once: int,
    have: dict[str, float],
    watchers: list[Watcher],
    listeners: list[Listener],
    callbacks: list[Callback],
    function: bytes | None,
) -> Exception | None:
    """One life of Ray's loop. Returns the error that ended it early, so that the next life can go on."""
    request = study.request
    fits = machine.concurrency(replace(request.resources, concurrent=None), have)
    in_store = IN_STORE if request.search.algorithm == "random" and at_once == fits else 0
    search = search_of(study, at_once)
    scheduler = schedulers.build(request, study)
    record = Record(run_directory, study, search, watchers, listeners)
    trainable = tune.with_resources(
        tune.with_parameters(
            TrialActor, request=request.to_json(), run=str(run_directory.path), function=function
        ),
        tune.PlacementGroupFactory(client_actors.bundles(request.resources)),
    )
    life = sum(1 for _ in run_directory.path.glob("ray/life-*")) + 1
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=AskTell(search, study, record.ask),
            scheduler=scheduler,
            num_samples=UNLIMITED,
            max_concurrent_trials=at_once + in_store,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: f"{trial.config['trial']:05d}-{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            name=f"life-{life}",
            storage_path=str(run_directory.path / "ray"),
            stop={"iteration": request.scheduler.max_iterations or UNLIMITED},
            checkpoint_config=tune.CheckpointConfig(
                checkpoint_frequency=0, checkpoint_at_end=False
            ),  # ours are
            failure_config=tune.FailureConfig(max_failures=WORKER_RESTARTS),
            callbacks=[Recorder(record, scheduler), *callbacks],
            verbose=0,
        ),
    )
    with warnings.catch_warnings(), _sigterm_as_sigint():
        warnings.simplefilter("ignore")  # Ray's, about Ray
        try:
            tuner.fit()
        except (RuntimeError, OSError, EOFError) as error:  # out of memory, disk full: our record goes on
            return error
    return None


@contextmanager
def _sigterm_as_sigint() -> Iterator[None]:
    """A cluster's scheduler or `kill` ends a study as Ctrl-C does: saved, to be gone on with."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _iterations(study: Study) -> int:
    return sum(trial.iterations + trial.over for trial in study.trials)


def _fail_the_killed(run_directory: RunDirectory, study: Study, error: str, or_all: bool) -> None:
    """Ray's loop ends with the first trial whose worker it killed for want of memory: fail that one alone.

    Where the error names none, `or_all` fails all that were running: nothing else would end the study.
    """
    selected = dict(re.findall(r"Selected to kill: .*?\bpid=(\d+), actual memory used=([\d.]+ ?\wB)", error))
    running = [trial for trial in study.trials if not trial.over]
    reasons = {}
    for trial in running:
        pid = checkpoints.worker_of(run_directory.path, trial.number).rpartition(":")[2]
        if pid in selected:
            reasons[trial.number] = f"out of memory: Ray ended its worker, which held {selected[pid]}"
    if not reasons and or_all:
        reasons = dict.fromkeys(
            [trial.number for trial in running], f"Ray broke down while it ran: {first_line(error)[:200]}"
        )
    for number, reason in reasons.items():
        study.apply(run_directory.append(TrialState.FAILED.value, trial=number, reason=reason))
        checkpoints.of_trial(run_directory.path, number).delete()
