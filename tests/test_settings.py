"""Settings as TOML: named ones and a user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfedge.errors import InputError
from tfedge.presets import Preset
from tfedge.settings import (
    check_keys,
    load_named,
    parse_setting,
    read_settings,
    setting_names,
)
from tfedge.targets import Target


def test_named_settings_are_the_files_of_a_package() -> None:
    names = setting_names("tfedge.targets")
    assert {"rpi4", "rpi5"} <= set(names)
    assert names == sorted(names)
    found = load_named("tfedge.presets", Preset, "tinybert")
    assert (found.name, found.labels) == ("tinybert", ("negative", "positive"))


@pytest.mark.parametrize("name", ["nothing", "../targets/rpi4", ""])
def test_unknown_name_lists_those_there_are(name: str) -> None:
    with pytest.raises(
        InputError, match=r"unknown target .*; known are edgetpu, edgetpu-plain, host, "
    ):
        load_named("tfedge.targets", Target, name)


def test_tables_keep_their_order(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("[b]\nx = 1\n[a]\ny = [1, 2]\n")
    assert list(read_settings(path).items()) == [("b", {"x": 1}), ("a", {"y": [1, 2]})]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = ", "is not TOML: .*at end of document"),
        (b"a = '\xff'", "is not TOML: .*utf-8"),
        (b"a = 1\na = 2\n", "is not TOML"),
        (b"a = " + b"[" * 100_000, "is not TOML"),
        (b'a = [{b = "x\\u0000"}]', "in 'x.*'; take it out"),
        (b"a = 0x" + b"f" * 5000, "x.toml has a number of 20000 bits; 63 are allowed"),
        (b"a = [-0x" + b"f" * 16 + b"]", "is not TOML"),
        (b"a = 9223372036854775808", "a number of 64 bits"),
        (b"a." * 20 + b"b = 1", "more than 16 tables or lists in each other"),
        (b"[" + b"a." * 20 + b"b]", "more than 16 tables or lists in each other"),
        (b"a." * 3000 + b"b = 1", "lines of too many dots for settings"),
        (b"[" + b"a." * 3000 + b"b]", "lines of too many dots for settings"),
        (b"#" * (2 << 20), "more than 1,048,576 bytes"),
    ],
)
def test_what_is_no_file_of_settings(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_settings(path)
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_settings(tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("learning-rate", "perhaps 'learning_rate' is meant; known are epochs, learning_rate$"),
        ("epoch", "x: unknown 'epoch', perhaps 'epochs' is meant"),
        ("zzz", "x: unknown 'zzz'; known are epochs"),
    ],
)
def test_unknown_key_names_the_nearest(given: str, message: str) -> None:
    check_keys(["epochs"], ["learning_rate", "epochs"], "x")
    with pytest.raises(InputError, match=message):
        check_keys(["epochs", given], ["learning_rate", "epochs"], "x")


def test_settings_of_a_command_line() -> None:
    assert parse_setting("a.b=0.5") == ("a.b", 0.5)
    assert parse_setting("a=[1, 2]") == ("a", [1, 2])
    assert parse_setting("a=true") == ("a", True)
    assert parse_setting("a=x/y=z.tsv") == ("a", "x/y=z.tsv")
    assert parse_setting("a=") == ("a", "")
    assert parse_setting("a=1\nb=2") == ("a", "1\nb=2")
    with pytest.raises(InputError, match="take it out"):
        parse_setting('a="x\\u0000"')
    with pytest.raises(InputError, match="a number of 20000 bits"):
        parse_setting("a=0x" + "f" * 5000)
    for text in ("a", "=1", ""):
        with pytest.raises(InputError, match="give KEY=VALUE"):
            parse_setting(text)
