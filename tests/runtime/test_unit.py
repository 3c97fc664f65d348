"""What systemd makes of the unit in docs/pipe.md: a sandbox, without a broker one with no network."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from program import ROOT, TIMEOUT_S

from tfedge.runtime.kept import place

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="a machine without systemd cannot judge a unit"
)
(UNIT,) = re.findall(
    r"^```ini\n(.*?)^```$",
    (ROOT / "docs/pipe.md").read_text(encoding="utf-8"),
    re.DOTALL | re.MULTILINE,
)
# What leaves the board, is written on it, or is asked of its kernel.
CLOSED = ("ProtectSystem=", "NoNewPrivileges=", "PrivateDevices=", "SystemCallArchitectures=")
CALLS = ("privileged", "resources", "mount", "module", "raw-io", "reboot", "swap", "debug")


def judged(folder: Path, unit: str, threshold: int) -> dict[str, str | None]:
    """What systemd says of each of its settings, None where there is nothing to better; fails where
    all of them have more than `threshold` of 100 points."""
    path = folder / "answer.service"
    path.write_text(unit)
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={threshold}"]
    told = [
        subprocess.run(
            [*command, *more, str(path)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        for more in ([], ["--json=short"])
    ]
    if "unrecognized option" in told[0].stderr:
        pytest.skip("systemd older than 250 judges only what is installed")
    assert told[0].returncode == 0, told[0].stdout
    return {one["name"]: one["exposure"] for one in json.loads(told[1].stdout)}


def test_what_the_service_cannot_do(tmp_path: Path) -> None:
    found = judged(tmp_path, UNIT, threshold=12)
    for name in (*CLOSED, *(f"SystemCallFilter=~@{group}" for group in CALLS)):
        assert found[name] is None, name
    assert float(found["IPAddressDeny="] or 0) <= 0.1  # localhost alone
    assert re.search(r"^MemoryMax=400M$", UNIT, re.MULTILINE)


def test_what_is_remembered_of_models_is_where_it_may_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (folder,) = re.findall(r"(?m)^CacheDirectory=(.*)$", UNIT)
    (cache,) = re.findall(r"(?m)^Environment=XDG_CACHE_HOME=(.*)$", UNIT)
    monkeypatch.setenv("XDG_CACHE_HOME", cache.replace("%C", "/var/cache"))
    assert place("tried", "x") == Path("/var/cache", folder, "tried", "x")


def test_without_a_broker_it_needs_no_network(tmp_path: Path) -> None:
    """As SECURITY.md says."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    added = re.findall(r"`(PrivateNetwork=\w+)` and\s+`(RestrictAddressFamilies=\w+)`", text)
    alone, taken = re.subn(r"(?m)^(IPAddressAllow|RestrictAddressFamilies)=.*\n", "", UNIT)
    assert taken == 2
    alone = alone.replace("[Install]", "\n".join([*added[0], "[Install]"]))
    found = judged(tmp_path, alone, threshold=4)
    assert found["PrivateNetwork="] is None
    assert found["RestrictAddressFamilies=~AF_(INET|INET6)"] is None
