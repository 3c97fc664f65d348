"""Whatever a checkpoint's folder holds, a model's description or a documented error comes out."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import toy_folders
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfedge.architectures.fields import LARGEST_SIZE
from tfedge.data.tokenizer import load_tokenizer
from tfedge.errors import TfedgeError
from tfedge.models import cost
from tfedge.models.checkpoint import Checkpoint
from tfedge.models.config import embedding_length, parse_config, pooling_of
from tfedge.tasks import task_and_labels

RELAXED = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ARCHITECTURES = ["bert", "distilbert", "mobilebert"]
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-2, 40),
        st.sampled_from([2**31, 2**63, -1, 0, 10**30, math.inf, -math.inf, math.nan, 1e-30, 1.5]),
        st.sampled_from(["gelu", "relu", "bert", "vit", "absolute", "", "\0", "a" * 300]),
        st.text(max_size=5),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@RELAXED
@given(data=st.data())
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_any_configuration(architecture: str, data: st.DataObject) -> None:
    """Sizes that were let through can be computed with; nothing is allocated for them."""
    content: dict[str, Any] = {**toy_folders.config(architecture), "model_type": architecture}
    for key in data.draw(st.sets(st.sampled_from(sorted(content)), max_size=3)):
        if data.draw(st.booleans()):
            content[key] = data.draw(VALUES)
        else:
            del content[key]
    try:
        config = parse_config(content)
    except TfedgeError as error:
        assert "\n" not in str(error)
        return
    assert 1 <= config.hidden_size <= LARGEST_SIZE
    assert config.hidden_size % config.num_attention_heads == 0 or architecture == "mobilebert"
    assert cost.parameters(config) > 0
    assert cost.flops(config, 16) > 0
    assert 0 < config.layer_norm_eps < 1


class Files(dict[str, bytes]):
    """The files of a folder by name."""

    def __repr__(self) -> str:  # what a failing test prints
        return f"the files {sorted(self)}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = toy_folders.write_folder(tmp_path_factory.mktemp("whole"))
    return Files({path.name: path.read_bytes() for path in folder.iterdir()})


@RELAXED
@given(data=st.data())
def test_any_damage(whole: Files, tmp_path: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(whole)))
    content = bytearray(whole[name])
    # Damage early in a file hits what describes the rest of it.
    places = st.integers(0, len(content) - 1) | st.integers(0, min(400, len(content) - 1))
    for place in data.draw(st.lists(places, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.none() | st.integers(0, len(content)))
    for other, good in whole.items():
        (tmp_path / other).write_bytes(bytes(content[:end]) if other == name else good)
    try:
        checkpoint = Checkpoint(tmp_path)
        task_and_labels(checkpoint)
        for stored in checkpoint.names:
            checkpoint.read(stored)
        load_tokenizer(tmp_path)
        pooling_of(tmp_path)
        embedding_length(tmp_path)
    except TfedgeError as error:
        assert "\n" not in str(error)


@RELAXED
@given(labels=VALUES, architectures=VALUES)
def test_any_labels(whole: Files, tmp_path: Path, labels: object, architectures: object) -> None:
    for name, content in whole.items():
        (tmp_path / name).write_bytes(content)
    config = json.loads(whole["config.json"])
    config |= {"id2label": labels, "architectures": architectures}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    try:
        _, names = task_and_labels(Checkpoint(tmp_path))
    except TfedgeError as error:
        assert "\n" not in str(error)
        return
    assert all(isinstance(name, str) for name in names)
