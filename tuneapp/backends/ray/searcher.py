"""Ray's view of a search: it suggests trials, and keeps nothing that trials.jsonl has not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from tuneapp.search import Search
from tuneapp.studies import Study, Trial

Ask = Callable[[], Trial | None]


class AskTell(Searcher):
    """Asks for the next trial: first those that an earlier life of the study left unfinished.

    `save` and `restore` write the numbers already given out; what is known of the trials is in the study.
    """

    def __init__(self, search: Search, study: Study, start: Ask) -> None:
        super().__init__()
        self.search = search
        self.start = start
        self.unfinished = [trial for trial in study.trials if not trial.over]
        self.given: list[int] = []

    def __getstate__(self) -> dict[str, Any]:
        """Only what `save` writes too: Ray pickles its searcher, but the study is in trials.jsonl."""
        return {"given": self.given}

    def suggest(self, trial_id: str) -> Any:
        if self.unfinished:
            trial: Trial | None = self.unfinished.pop(0)
        elif self.search.exhausted:
            return Searcher.FINISHED
        else:
            trial = self.start()
        if trial is None:
            return None  # the search waits for results
        self.given.append(trial.number)
        return {"trial": trial.number, "config": trial.config, "seed": trial.seed}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """The recorder has told the search already."""

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).write_text(json.dumps(self.given), encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        self.given = json.loads(Path(checkpoint_path).read_text(encoding="utf-8"))
        self.unfinished = [trial for trial in self.unfinished if trial.number not in self.given]
