"""Runs a study with Ray Tune, from its first trial or from wherever its record ends."""

import logging
import warnings
from typing import Any

from ray import tune
from ray.tune.callback import Callback

from tuneapp.engine import cluster, schedulers
from tuneapp.engine.loggers import build as build_loggers
from tuneapp.engine.recorder import Recorder, Watcher
from tuneapp.engine.searcher import AskTell
from tuneapp.engine.trainable import TrialActor
from tuneapp.errors import TuneappError
from tuneapp.search import make_search
from tuneapp.spaces import SearchSpace
from tuneapp.studies import RunDirectory, State, Study

UNLIMITED = 10**9  # the search ends a study, not Ray
WORKER_RESTARTS = 2  # of one trial whose process dies, from its checkpoint
MOST_FITS = 20  # times Ray's loop may break down in one run


def run(
    run_directory: RunDirectory,
    watchers: list[Watcher] | None = None,
    loggers: list[str] | None = None,
    dashboard: bool = False,
) -> Study:
    """Run all trials that the request asks for and the record does not hold yet; returns the study.

    A study whose trials are not all over was interrupted; calling this again goes on. Raises UsageError where
    the cluster can't serve a trial, TuneappError where Ray breaks down again and again.
    """
    study = run_directory.read()
    resources = study.request.resources
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # what went wrong is in our record
    with run_directory.lock(), cluster.connected(resources, dashboard) as have:
        run_directory.mend()
        callbacks = build_loggers(loggers or [], run_directory.path)
        at_once = cluster.concurrency(resources, have)
        for life in range(MOST_FITS):
            over_before = _over(study)
            error = _fit(run_directory, study, at_once, watchers or [], callbacks)
            if error is None:
                break
            if _over(study) == over_before:
                _fail_the_running(run_directory, study, error)
        else:
            raise TuneappError(
                f"Ray broke down {MOST_FITS} times ({error}); what was found so far is kept, and "
                f"`tuneapp resume {run_directory.path.name}` goes on."
            )
        if life_is_complete(study):
            study.apply(run_directory.append("closed"))
    return study


def life_is_complete(study: Study) -> bool:
    """Whether every trial is over and the search wants no more."""
    return all(trial.over for trial in study.trials) and _search(study).exhausted


def _fit(
    run_directory: RunDirectory,
    study: Study,
    at_once: int,
    watchers: list[Watcher],
    callbacks: list[Callback],
) -> Exception | None:
    """One life of Ray's loop. Returns the error that ended it early, so that the next life can go on."""
    request = study.request
    search = _search(study)
    scheduler = schedulers.build(request, study)
    recorder = Recorder(run_directory, study, search, scheduler, watchers)
    trainable = tune.with_resources(
        tune.with_parameters(TrialActor, request=request.to_json(), run=str(run_directory.path)),
        tune.PlacementGroupFactory([{"CPU": request.resources.cpus, "GPU": request.resources.gpus}]),
    )
    life = sum(1 for _ in run_directory.path.glob("ray/life-*")) + 1
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=AskTell(search, study, recorder.start),
            scheduler=scheduler,
            num_samples=UNLIMITED,
            max_concurrent_trials=at_once,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: f"{trial.config['trial']:05d}-{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            name=f"life-{life}",
            storage_path=str(run_directory.path / "ray"),
            stop={"iteration": request.scheduler.max_iterations},
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),  # ours are
            failure_config=tune.FailureConfig(max_failures=WORKER_RESTARTS),
            callbacks=[recorder, *callbacks],
            verbose=0,
        ),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's, about Ray
        try:
            tuner.fit()
        except (RuntimeError, OSError, EOFError) as error:  # out of memory, disk full: our record goes on
            return error
    return None


def _search(study: Study) -> Any:
    """A search that has been told everything the study holds."""
    space = SearchSpace.from_dict(study.request.space)
    search = make_search(space, study.metric, study.request.search, study.request.scheduler)
    for trial in study.trials:
        search.tell(trial)
    return search


def _over(study: Study) -> int:
    return sum(trial.over for trial in study.trials)


def _fail_the_running(run_directory: RunDirectory, study: Study, error: Exception) -> None:
    """Trials that were running when Ray broke down twice without any end in between."""
    for trial in study.trials:
        if not trial.over:
            reason = f"Ray broke down while it ran: {str(error).splitlines()[0][:200]}"
            study.apply(run_directory.append(State.FAILED.value, trial=trial.number, reason=reason))
