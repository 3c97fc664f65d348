"""Looks for settings with which a recipe's training does best: `tfedge run --search`, by Optuna.

Each trial trains in a folder of its own, `OUTPUT/search/NUMBER`, and is ended early where it does worse
than the median of those before it at the same step (Golovin et al. 2017, section 3.2.1). What has been
tried is kept in `OUTPUT/search/study.log`, a journal to which several processes may write, on several
machines too if they share the folder. The best trial's stages become the recipe's own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfedge import files
from tfedge.errors import InputError, MissingPackageError
from tfedge.recipes.plan import Hashes, Record, Step, digest
from tfedge.recipes.recipe import DATA_KEYS, MODEL_KEYS, Recipe
from tfedge.recipes.result import Search, Tried, Value, shown_setting
from tfedge.recipes.run import Say, StageEnded, StageError, locked, relocate, steps
from tfedge.settings import parse_value
from tfedge.train.figures import FIGURES, read_figures

if TYPE_CHECKING:
    import optuna

# Stages that are trained for a figure of held-out texts.
TRAINED = ("finetune", "distil")
_UNPRUNED = 4  # trials that run to their end whatever they do
_FOLDER = "search"
# Where nobody says over what: the peak rate, by its logarithm, and how long.
USUAL = ("learning_rate=5e-5..1e-3", "epochs=3..20")


@dataclasses.dataclass(frozen=True)
class Space:
    """The values that one setting may have: from `low` to `high`, or one of `choices`."""

    place: str  # as of --set, e.g. "distil.learning_rate"
    low: float = 0
    high: float = 0
    choices: tuple[Value, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Space:
        """Of `TABLE.KEY=LOW..HIGH` or `TABLE.KEY=A,B,C`; raises InputError for anything else."""
        place, _, values = text.partition("=")
        low, dots, high = values.partition("..")
        ends = tuple(map(parse_value, (low, high)))
        if dots and all(type(end) in (int, float) for end in ends) and ends[0] < ends[1]:
            return cls(place, *ends)
        choices = tuple(parse_value(value) for value in values.split(","))
        if dots or "." not in place or len(choices) < 2:
            raise InputError(
                f"{text!r} is nothing to search; give TABLE.KEY=LOW..HIGH or TABLE.KEY=A,B,C, such as "
                "distil.learning_rate=1e-4..1e-3"
            )
        return cls(place, choices=choices)

    @property
    def stage(self) -> str:
        return self.place.partition(".")[0]

    def suggested(self, trial: optuna.Trial) -> Value:
        """A value for a trial; of a range above 0 as likely in each of its octaves."""
        if self.choices:
            found: Value = trial.suggest_categorical(self.place, self.choices)  # type: ignore[assignment]
            return found
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(self.place, self.low, self.high)
        return trial.suggest_float(self.place, self.low, self.high, log=self.low > 0)


# Reads the recipe with further settings in place of its own.
Read = Callable[[Mapping[str, Any]], Recipe]


def search(read: Read, spaces: Sequence[Space], count: int, say: Say) -> Search:
    """Tries settings until there are `count` finished trials, and makes the best one's stages the
    recipe's.

    Raises InputError where a recipe has nothing to search, MissingPackageError without Optuna, and
    what `steps` raises.
    """
    recipe = read({})
    _import()
    spaces = spaces or usual_spaces(recipe)
    first, last = _searched(recipe, spaces)
    files.check_folder(recipe.output)
    hashes = Hashes()
    with locked(recipe.output, say):
        made = list(steps(recipe, recipe.stages[:first], None, hashes, say))
    trials = _Trials(read, recipe, (first, last), made[-1] if made else None, hashes)
    found = trials.run(spaces, count, say)
    with locked(recipe.output, say):
        trials.keep(found.best)
    return found


def usual_spaces(recipe: Recipe) -> list[Space]:
    """Those of the last stage that is trained for a figure; none without any."""
    names = [stage.name for stage in recipe.stages if stage.name in TRAINED]
    return [Space.parse(f"{names[-1]}.{text}") for text in USUAL] if names else []


def _searched(recipe: Recipe, spaces: Sequence[Space]) -> tuple[int, int]:
    """The first stage that differs between trials, and the one whose figure counts."""
    names = [stage.name for stage in recipe.stages]
    trained = [place for place, name in enumerate(names) if name in TRAINED]
    if not trained:
        raise InputError(
            f"{recipe.path} has no [finetune] or [distil] whose settings could be tried"
        )
    last = trained[-1]
    for space in spaces:
        if space.stage not in names[: last + 1]:
            raise InputError(
                f"{recipe.path}: {space.place} cannot be searched, as trials are compared by what "
                f"[{names[last]}] gives; take settings of {', '.join(names[: last + 1])}"
            )
    if recipe.stages[last].given.get("eval") in (None, "none"):
        raise InputError(f"{recipe.path} has no texts to compare trials by; give --eval")
    return min(names.index(space.stage) for space in spaces), last


def _import() -> None:
    try:
        import optuna
    except ImportError as error:
        raise MissingPackageError("--search needs Optuna; pip install 'optuna>=4,<6'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def _nothing(line: str) -> None:
    """Of a trial's stages only the trial is told."""


class _Trials:
    """The trials of one recipe, from stage `span[0]` to stage `span[1]`, whose figure counts."""

    def __init__(
        self, read: Read, recipe: Recipe, span: tuple[int, int], before: Step | None, hashes: Hashes
    ) -> None:
        self._read, self._recipe, self._before, self._hashes = read, recipe, before, hashes
        self._first, self._last = span
        self._folder = recipe.output / _FOLDER
        self._goal = ""

    def run(self, spaces: Sequence[Space], count: int, say: Say) -> Search:
        """Tries until `count` trials have ended, those of other processes too."""
        import optuna
        from optuna.storages.journal import JournalFileBackend
        from optuna.trial import TrialState

        self._folder.mkdir(parents=True, exist_ok=True)
        ended = (TrialState.COMPLETE, TrialState.PRUNED)
        study = optuna.create_study(
            study_name=self._identity(spaces),
            storage=optuna.storages.JournalStorage(
                JournalFileBackend(str(self._folder / "study.log"))
            ),
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_UNPRUNED),
        )
        seed = int(self._recipe.stages[self._last].options.get("seed") or 0)
        while len(study.get_trials(deepcopy=False, states=ended)) < count:
            # What comes next follows from what has been tried, whenever the search goes on.
            study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
            self._try(study, spaces, count, say)
        return self._found(study.get_trials(states=ended))

    def _identity(self, spaces: Sequence[Space]) -> str:
        """Of all that trials depend on besides what is searched: of others nothing is learnt."""
        places = {space.place for space in spaces}
        stages = self._recipe.stages[self._first : self._last + 1]
        options = [
            {
                key: value
                for key, value in stage.options.items()
                if f"{stage.name}.{key}" not in places
            }
            for stage in stages
        ]
        before = self._before.record if self._before else None
        read = [digest(before.outputs) if before and before.outputs else ""]
        for stage in stages:
            read += [
                (self._hashes.data if key in DATA_KEYS else self._hashes.model)(str(value))
                for key, value in stage.given.items()
                if key in (*DATA_KEYS, *MODEL_KEYS)
            ]
        known = [list(map(dataclasses.astuple, spaces)), options, read]
        return digest({"search": json.dumps(known, sort_keys=True, default=str)})

    def _try(self, study: optuna.Study, spaces: Sequence[Space], count: int, say: Say) -> None:
        from optuna.trial import TrialState

        trial = study.ask()
        settings = {space.place: space.suggested(trial) for space in spaces}
        shown = ", ".join(map(shown_setting, settings.items()))
        say(f"trial {trial.number}, {count} wanted: {shown}")
        try:
            figure = self._figure(trial, settings)
        except StageEnded:
            study.tell(trial, state=TrialState.PRUNED)
            say(f"trial {trial.number}: ended early, it does worse than most")
            return
        except StageError:
            study.tell(trial, state=TrialState.FAIL)
            raise
        study.tell(trial, figure)
        say(f"trial {trial.number}: {self._goal} {figure:.4f}, best {study.best_value:.4f}")

    def _figure(self, trial: optuna.Trial, settings: Mapping[str, Value]) -> float:
        """What a trial comes to; raises StageEnded where it is not worth going on."""
        recipe = self._of_trial(trial.number, settings)
        told = 0

        def ends() -> bool:
            nonlocal told
            rows = read_figures(self._logs(trial.number))
            for step, figure in rows[told:]:
                trial.report(figure, step)
            told = len(rows)
            return bool(rows) and trial.should_prune()

        *_, last = self._steps(recipe, ends)
        assert last.record is not None and last.record.result is not None
        result = last.record.result
        self._goal = result["goal"]
        return float(result["figures"][self._goal])

    def _steps(self, recipe: Recipe, ends: Callable[[], bool]) -> Iterator[Step]:
        """Runs the stages of a trial; only the last is ended early."""
        first, last = self._first, self._last
        made = list(steps(recipe, recipe.stages[first:last], self._before, self._hashes, _nothing))
        before = made[-1] if made else self._before
        yield from steps(
            recipe, recipe.stages[last : last + 1], before, self._hashes, _nothing, ends
        )

    def _logs(self, number: int) -> Path:
        return self._folder / str(number) / "logs" / FIGURES

    def _of_trial(self, number: int, settings: Mapping[str, Value]) -> Recipe:
        """The recipe with a trial's settings, in a trial's folder."""
        logs = f"{self._recipe.stages[self._last].name}.logs"
        found = self._read({**settings, logs: str(self._logs(number).parent)})
        return dataclasses.replace(found, output=self._folder / str(number))

    def _found(self, ended: Sequence[optuna.trial.FrozenTrial]) -> Search:
        trials = [
            Tried(
                trial.number, trial.params, trial.value if trial.state.name == "COMPLETE" else None
            )
            for trial in ended
        ]
        best = max(trials, key=lambda trial: -math.inf if trial.figure is None else trial.figure)
        return Search(self._goal or self._goal_of(best), trials, best)

    def _goal_of(self, trial: Tried) -> str:
        """The figure's name where another process has found it."""
        name = self._recipe.stages[self._last].name
        content = json.loads((self._folder / str(trial.number) / name / "stage.json").read_bytes())
        return str(content["result"]["goal"])

    def keep(self, best: Tried) -> None:
        """Copies the best trial's stages to where the recipe has them, unless they are there, so that
        they are not run again."""
        source = self._folder / str(best.number)
        for stage in self._recipe.stages[self._first : self._last + 1]:
            target = self._recipe.output / stage.name
            made, there = Record.read(source / stage.name), Record.read(target)
            if made and there and (made.key, made.outputs) == (there.key, there.outputs):
                continue
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(target)
            shutil.copytree(source / stage.name, target)
            relocate(target, source, self._recipe.output)
