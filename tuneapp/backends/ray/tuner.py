"""Runs a session with Ray Tune, which places trials, starts their actors and survives their deaths."""

import logging
import re
import warnings
from contextlib import ExitStack
from tempfile import TemporaryDirectory

import ray
from ray import tune
from ray.tune import TuneError
from ray.tune.callback import Callback

from tuneapp.backends import checkpoints, machine
from tuneapp.backends.base import Session, ended_as_by_ctrl_c
from tuneapp.backends.ray import client_actors, cluster, lean
from tuneapp.backends.ray.adapters import (
    UNLIMITED,
    SessionCallback,
    SessionScheduler,
    SessionSearch,
    SessionSearcher,
)
from tuneapp.backends.ray.loggers import build as build_loggers
from tuneapp.backends.ray.trainable import TrialActor
from tuneapp.errors import TuneappError, first_line
from tuneapp.studies import Study

WORKER_RESTARTS = 2  # of one trial whose process dies, from its checkpoint
MOST_FITS = 20  # times Ray's loop may break down in one run


def drive(session: Session) -> None:
    """Raises UsageError where the cluster can't serve a trial, TuneappError where Ray breaks down again and
    again."""
    study = session.study
    resources = study.request.resources
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # what went wrong is in our record
    code = study.request.options.get("folder")
    with cluster.connected(resources, session.how.dashboard, session.tell, code) as have:
        callbacks = build_loggers(list(session.how.loggers), session.run.path)
        at_once = machine.concurrency(resources, have)
        if not lean.fits():
            session.tell(
                f"Ray {ray.__version__} is built differently from the one that tuneapp was made for: short "
                "trials take longer, and a worker is not replaced after a trial that left something behind."
            )
        for _ in range(MOST_FITS):
            iterations_before = _iterations(study)
            session.plan(at_once)
            error = _fit(session, at_once, callbacks)
            if session.journal.no_room is not None:
                raise session.journal.no_room
            if error is None:
                return
            stuck = _iterations(study) == iterations_before
            _fail_the_killed(session, str(error), or_all=stuck)
        raise TuneappError(
            f"Ray broke down {MOST_FITS} times ({error}); what was found so far is kept, and "
            f"`tuneapp resume {session.run.path.name}` goes on."
        )


def _fit(session: Session, at_once: int, callbacks: list[Callback]) -> Exception | None:
    """One life of Ray's loop. Returns the error that ended it early, so that the next life can go on."""
    request, run = session.study.request, session.run.path
    trainable = tune.with_resources(
        tune.with_parameters(
            TrialActor, request=request.to_json(), run=str(run), function=session.how.function
        ),
        tune.PlacementGroupFactory(client_actors.bundles(request.resources)),
    )
    is_lean = lean.fits()
    # Ray insists on a place for its own state, which nobody reads.
    with ExitStack() as stack:
        storage = stack.enter_context(TemporaryDirectory(prefix="tuneapp-ray-", ignore_cleanup_errors=True))
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=SessionSearch(session, at_once, WORKER_RESTARTS)
                if is_lean
                else SessionSearcher(session),
                scheduler=SessionScheduler(session),
                num_samples=UNLIMITED,
                max_concurrent_trials=None if is_lean else at_once,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=run.name,
                storage_path=storage,
                checkpoint_config=tune.CheckpointConfig(
                    checkpoint_frequency=0, checkpoint_at_end=False
                ),  # ours are
                failure_config=tune.FailureConfig(max_failures=WORKER_RESTARTS),
                callbacks=[SessionCallback(session), *callbacks],
                verbose=0,
            ),
        )
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # Ray's, about Ray
        stack.enter_context(ended_as_by_ctrl_c())  # again: Ray has put a handler of its own for SIGTERM
        if is_lean:
            stack.enter_context(lean.switched_on())
        try:
            tuner.fit()
        except (TuneError, RuntimeError, OSError, EOFError) as error:  # no memory, no room
            return error
    return None


def _iterations(study: Study) -> int:
    return sum(trial.iterations + trial.over for trial in study.trials)


def _fail_the_killed(session: Session, error: str, or_all: bool) -> None:
    """Ray's loop ends with the first trial whose worker it killed for want of memory: fail that one alone.

    Where the error names none, `or_all` fails all that were running: nothing else would end the study.
    """
    selected = dict(re.findall(r"Selected to kill: .*?\bpid=(\d+), actual memory used=([\d.]+ ?\wB)", error))
    running = [trial for trial in session.study.trials if not trial.over]
    reasons = {}
    for trial in running:
        pid = checkpoints.worker_of(session.run.path, trial.number).rpartition(":")[2]
        if pid in selected:
            reasons[trial.number] = f"out of memory: Ray ended its worker, which held {selected[pid]}"
    if not reasons and or_all:
        reasons = dict.fromkeys(
            [trial.number for trial in running], f"Ray broke down while it ran: {first_line(error)[:200]}"
        )
    for number, reason in reasons.items():
        session.fail(session.study.trials[number], reason)
