"""The folder in which a run keeps what it needs to go on, and where its result is made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfedge import files
from tfedge.errors import InputError
from tfedge.models.folder import keep_others
from tfedge.train.distribute import is_chief, wait_for_all
from tfedge.train.place import training_folder


class RunFolder:
    """`X.training` beside the output `X`. Of several workers the chief makes and removes it.

    In it are `steps`, the training's checkpoints, and `result`, which is to become the output.
    """

    def __init__(self, output: Path, strategy: tf.distribute.Strategy | None = None) -> None:
        self.output = output
        self.path = training_folder(output)
        self.steps = self.path / "steps"
        self.result = self.path / "result"
        self._settings = self.path / "settings.json"
        self._strategy = strategy or tf.distribute.get_strategy()

    @property
    def has_steps(self) -> bool:
        """Whether there is a checkpoint from which a training can go on."""
        return (self.steps / "checkpoint").is_file()

    def claim(self, settings: dict[str, Any], force: bool = False) -> None:
        """Makes the folder, or finds what an interrupted run with the same settings has left in it.

        Raises InputError where the output exists, or where an interrupted run had other settings,
        unless `force` replaces them.
        """
        if is_chief(self._strategy):
            self._claim(json.loads(json.dumps(settings, default=sorted)), force)
        wait_for_all(self._strategy)

    def _claim(self, settings: dict[str, Any], force: bool) -> None:
        was_claimed = self._settings.is_file()
        other = self._differences(settings) if was_claimed else ""
        if other and self.has_steps and not force:
            raise InputError(
                f"{self.path} holds an interrupted run with other settings ({other}); repeat the "
                "command with its settings to resume, or delete that folder, as --force does"
            )
        resumes = was_claimed and not other
        if not was_claimed:  # what is there is left of a run that was killed when it had ended
            shutil.rmtree(self.path, ignore_errors=True)
        if self.output.exists() and not force and not (resumes and self.has_steps):
            raise InputError(
                f"{self.output} exists; choose another --output, or --force to replace it"
            )
        if not resumes:
            shutil.rmtree(self.path, ignore_errors=True)
            files.write_json(self._settings, settings)

    def _differences(self, settings: dict[str, Any]) -> str:
        """What the run in the folder was given and this one is not; empty if nothing."""
        try:
            found = json.loads(self._settings.read_text(encoding="utf-8"))
        except ValueError:
            return "unreadable ones"
        if not isinstance(found, dict):
            return "unreadable ones"
        names = [name for name in {**found, **settings} if found.get(name) != settings.get(name)]
        return ", ".join(
            f"{name}: {json.dumps(found.get(name))}, now {json.dumps(settings.get(name))}"
            for name in names
        )

    def leave(self, failed: bool = True) -> None:
        """Removes the folder unless there is a training to go on with; or, of a run that has not
        `failed`, anything else that was computed."""
        found = [path for path in self.path.iterdir() if path != self._settings]
        if is_chief(self._strategy) and not (self.has_steps if failed else found):
            shutil.rmtree(self.path, ignore_errors=True)

    def publish(self) -> None:
        """Puts `result` into the output's place in one step and removes the folder."""
        if is_chief(self._strategy):
            keep_others(self.output, self.result)
            files.replace_folder(self.result, self.output)
            # Without its settings nothing takes what a kill leaves for an interrupted run.
            self._settings.unlink(missing_ok=True)
            shutil.rmtree(self.path)
