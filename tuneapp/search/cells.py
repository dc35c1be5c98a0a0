"""One hyperparameter at a time: the cells of a plan, every one on every seed."""

from tuneapp.errors import UsageError
from tuneapp.search import plan as plans
from tuneapp.search.base import Problem, Proposal
from tuneapp.settings import Config, config_key
from tuneapp.studies import Trial


class Cells:
    """All cells with the first seed, then all with the second: an interrupted study has whole tables.

    Where the plan combines, the single winners are put together once every cell is over.
    """

    def __init__(self, problem: Problem, lag: int = 0) -> None:
        """lag: as every search gets it; a plan is run whatever the results."""
        if problem.settings.plan is None:
            raise UsageError("The search `cells` runs the plan of `tuneapp effects`; use that command.")
        self._problem = problem
        self._plan = plans.Plan.from_json(problem.settings.plan)
        self._planned = [(config, seed) for seed in self._plan.seeds for config in self._plan.configs]
        self._trials: dict[int, Trial] = {}
        self._combinations: list[tuple[Config, int]] | None = None  # once every cell is over

    def tell(self, trial: Trial) -> None:
        self._trials[trial.number] = trial

    def ask(self) -> Proposal | None:
        number = len(self._trials)
        if number < len(self._planned):
            config, seed = self._planned[number]
            return Proposal(config, "cell", seed)
        combined = self._combined()
        if combined is None or number >= len(self._planned) + len(combined):
            return None
        config, seed = combined[number - len(self._planned)]
        return Proposal(config, "combination", seed)

    @property
    def learns(self) -> bool:
        return len(self._trials) >= len(self._planned)

    @property
    def exhausted(self) -> bool:
        number = len(self._trials)
        if number < len(self._planned):
            return False
        combined = self._combined()
        return combined is not None and number >= len(self._planned) + len(combined)

    def _combined(self) -> list[tuple[Config, int]] | None:
        """What `combine` adds; None while a cell still runs."""
        if not self._plan.combine:
            return []
        if self._combinations is None:
            trials = [self._trials[number] for number in range(len(self._planned))]
            if not all(trial.over for trial in trials):
                return None
            run = {config_key(config) for config in self._plan.configs}
            combined = plans.combinations(self._plan, self._problem.space, trials, self._problem.metric)
            new = [config for config in combined if config_key(config) not in run]
            self._combinations = [(config, seed) for seed in self._plan.seeds for config in new]
        return self._combinations
