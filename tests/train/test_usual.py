"""How long and how fast to train where nobody says."""

import click
import pytest

from tfedge.cli.training import distil, finetune, settle_course
from tfedge.train.usual import usual_epochs, usual_learning_rate


@pytest.mark.parametrize(
    ("texts", "epochs"), [(10, 20), (3_394, 20), (15_000, 6), (26_000, 4), (67_334, 3), (10**7, 3)]
)
def test_few_texts_are_read_more_often(texts: int, epochs: int) -> None:
    assert usual_epochs(texts, 32) == epochs


@pytest.mark.parametrize(
    ("width", "rate"), [(768, 5e-5), (384, 2e-4), (128, 5e-4), (1024, 2.8125e-5)]
)
def test_small_encoders_take_larger_steps(width: int, rate: float) -> None:
    assert usual_learning_rate(width) == pytest.approx(rate)


def test_what_is_given_stays() -> None:
    open_, given = {"epochs": None, "learning_rate": None, "batch_size": 32}, {"batch_size": 32}
    given |= {"epochs": 2, "learning_rate": 1e-5}
    settle_course(open_, texts=15_000, width=384)
    settle_course(given, texts=15_000, width=384)
    assert (open_["epochs"], open_["learning_rate"]) == (6, pytest.approx(2e-4))
    assert (given["epochs"], given["learning_rate"]) == (2, 1e-5)


@pytest.mark.parametrize(
    ("command", "words"), [(finetune, ["minilm"]), (distil, ["tinybert", "--teacher", "minilm"])]
)
def test_commands_leave_it_open(command: click.Command, words: list[str]) -> None:
    given = command.make_context("it", [*words, "--data", "a.tsv", "--output", "b"]).params
    assert given["epochs"] is None
    assert given["learning_rate"] is None
