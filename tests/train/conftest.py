"""What tests of training share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import tensorflow as tf
import toy_folders

from tfedge.data.texts import Texts
from tfedge.train import training


@pytest.fixture(scope="session", autouse=True)
def _graphs_as_they_are() -> None:
    """A toy trains for a few steps, for which its graph takes longer to optimise than it gains."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@pytest.fixture(scope="session", autouse=True)
def _reports_by_steps_alone() -> Iterator[None]:
    """However slow the machine is."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training, "_SECONDS_PER_REPORT", math.inf)
        yield


@pytest.fixture(scope="session")
def toy_texts() -> Texts:
    return toy_folders.sentences(40)


@pytest.fixture(scope="session")
def toy_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with random weights and a head of two labels."""
    return toy_folders.write_folder(tmp_path_factory.mktemp("toy") / "encoder")


@pytest.fixture(scope="session")
def small_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with one layer, where no test of a file needs a second one."""
    return toy_folders.write_folder(tmp_path_factory.mktemp("small") / "encoder", small=True)
