"""Texts by name: a file, a data set on the hub, and the typos that lie between."""

from __future__ import annotations

import builtins
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfedge.data.hub import read_data
from tfedge.errors import InputError, MissingPackageError
from tfedge.tasks.columns import ColumnNames


class ClassLabel:
    """As `datasets.ClassLabel`: refuses -1, the label of rows whose label is secret."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def int2str(self, value: int) -> str:
        if not 0 <= value < len(self.names):
            raise ValueError(f"Invalid integer class label {value}")
        return self.names[value]


class Rows(dict[str, list[Any]]):
    """As a split of a `datasets.Dataset`: columns by name."""

    def __init__(self, features: dict[str, Any] | None = None, **columns: list[Any]) -> None:
        super().__init__(columns)
        self.column_names = list(columns)
        self.features = features or dict.fromkeys(columns)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], Rows | Exception]:
    """A package `datasets` that has what a test puts here: (id, split) -> rows."""
    content: dict[tuple[str, str], Rows | Exception] = {}

    def load_dataset(identifier: str, split: str) -> Rows:
        found = content[identifier, split]
        if isinstance(found, Exception):
            raise found
        return found

    module = types.ModuleType("datasets")
    module.__dict__.update(ClassLabel=ClassLabel, load_dataset=load_dataset)
    monkeypatch.setitem(sys.modules, "datasets", module)
    return content


@pytest.fixture
def no_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without the package."""
    genuine: Callable[..., Any] = builtins.__import__

    def import_module(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "datasets":
            raise ModuleNotFoundError("No module named 'datasets'")
        return genuine(name, *arguments, **options)

    monkeypatch.delitem(sys.modules, "datasets", raising=False)
    monkeypatch.setattr(builtins, "__import__", import_module)


@pytest.mark.usefixtures("no_datasets")
def test_file_needs_no_package(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("text\tlabel\none\tx\n")
    assert read_data(str(tmp_path / "a.tsv"), "train").texts == ["one"]


def test_labels_that_nobody_reads(tmp_path: Path) -> None:
    """qad and others train on texts alone: of a model for several labels a row may have none."""
    (tmp_path / "a.jsonl").write_text(
        '{"text": "one", "labels": []}\n{"text": "two", "labels": ["x", "y"]}\n'
    )
    with pytest.raises(InputError, match="row 1: 'labels' has 0 labels where one is wanted"):
        read_data(str(tmp_path / "a.jsonl"), "train")
    found = read_data(str(tmp_path / "a.jsonl"), "train", may_lack_labels=True)
    assert found.labels == ["", "x|y"]


@pytest.mark.usefixtures("no_datasets")
@pytest.mark.parametrize("name", ["stanfordnlp/sst2", "stanfordnlp/sst2:train", "a-b/c_d-e:x[:9%]"])
def test_without_the_package_it_says_what_to_install(name: str) -> None:
    with pytest.raises(MissingPackageError, match="`pip install datasets`") as caught:
        read_data(name, "train")
    assert str(caught.value).startswith(f"{name} is not a file")


@pytest.mark.usefixtures("no_datasets")
@pytest.mark.parametrize(
    "name",
    [
        *("dev.tsv", "./dev.tsv", "data/dev.tsv", "data/dev.jsonl.gz", "/nowhere/dev.csv"),
        *("dev", "./dev", "../dev", "/nowhere/dev", "~/dev", "data/sst2/dev", "data/dev.parquet"),
    ],
)
def test_typo_of_a_path_does_not_go_to_the_hub(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        read_data(name, "train")


def test_columns_and_labels_of_the_hub(hub: dict[tuple[str, str], Rows | Exception]) -> None:
    features = {"sentence": None, "label": ClassLabel(["negative", "positive"])}
    hub["glue/sst2", "train"] = Rows(features, sentence=["one", "two"], label=[1, 0])
    hub["glue/sst2", "validation"] = Rows(text=["three"], label_text=["x"])
    texts = read_data("glue/sst2", "train")
    assert (texts.texts, texts.labels) == (["one", "two"], ["positive", "negative"])
    assert texts.source == "glue/sst2"
    texts = read_data("glue/sst2:validation", "train")
    assert (texts.texts, texts.labels) == (["three"], ["x"])


def test_second_text_of_the_hub(hub: dict[tuple[str, str], Rows | Exception]) -> None:
    for columns in ({"label": [0]}, {}):
        hub["a/b", "train"] = Rows(sentence=["one"], query=["two"], **columns)
        assert read_data("a/b", "train").second == ("query",)


def test_pairs_of_the_hub(hub: dict[tuple[str, str], Rows | Exception]) -> None:
    """Columns as SICK has them: capital letters do not count here either."""
    features = {
        "sentence_B": None,
        "sentence_A": None,
        "id": None,
        "label": ClassLabel(["no", "yes"]),
    }
    hub["a/sick", "train"] = Rows(
        features, sentence_B=["b", "d"], sentence_A=["a", "c"], id=[7, 8], label=[1, 0]
    )
    found = read_data("a/sick", "train")
    assert (found.texts, found.labels) == ([("a", "b"), ("c", "d")], ["yes", "no"])
    assert (found.columns, found.left_out) == (("sentence_a", "sentence_b"), ("id",))


def test_columns_that_the_user_names(hub: dict[tuple[str, str], Rows | Exception]) -> None:
    hub["a/b", "train"] = Rows(Claim=["one"], evidence=["two"], verdict=["x"])
    found = read_data("a/b", "train", ColumnNames(" claim", "Evidence", "Verdict"))
    assert (found.texts, found.labels, found.left_out) == ([("one", "two")], ["x"], ())
    with pytest.raises(InputError) as caught:
        read_data("a/b", "train", ColumnNames("claims"))
    assert str(caught.value) == (
        "a/b has no column 'claims'; its columns are ['claim', 'evidence', 'verdict']"
    )


def test_set_without_labels(hub: dict[tuple[str, str], Rows | Exception]) -> None:
    hub["a/b", "train"] = Rows(text=["one"])
    assert read_data("a/b", "train").labels is None


FAULTS: dict[str, tuple[Rows | Exception, str]] = {
    "offline": (ConnectionError("no route"), "a/b could not be downloaded from the hub: no route"),
    "no row": (Rows(text=[]), "data set a/b has no rows in this split"),
    "no text": (Rows(premise=["a"], label=[0]), "a/b has the columns ['label', 'premise']"),
    "secret labels": (
        Rows({"text": None, "label": ClassLabel(["x", "y"])}, text=["a"], label=[-1]),
        "data set a/b has rows without a label",
    ),
    "null text": (Rows(text=["a", None]), "a/b, row 2, has an empty 'text'"),
    "blank text": (Rows(text=["a", " "]), "a/b, row 2, has an empty 'text'"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_of_the_hub(hub: dict[tuple[str, str], Rows | Exception], kind: str) -> None:
    hub["a/b", "train"], message = FAULTS[kind]
    with pytest.raises(InputError) as caught:
        read_data("a/b", "train")
    assert message in str(caught.value)
