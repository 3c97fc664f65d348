"""Pages in a browser, as wide as desktops and phones have it, light and dark (`make test-browser`)."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from results import changed

from tfedge.edgetpu import table as edgetpu
from tfedge.edgetpu.check import check
from tfedge.inspect import table as inspection
from tfedge.inspect.result import Report
from tfedge.report.read import read_results
from tfedge.report.write import write_report

pytestmark = pytest.mark.browser
DESKTOP, PHONE = 1280, 390
LIGHT, DARK = 1, 0  # of Blink's setting preferredColorScheme

# Shows the page in a frame of a width, measures, and leaves what it found in the document.
PROBE = """<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<body style="margin:0">
<iframe id="frame" style="border:0;width:{width}px;height:900px" srcdoc="{page}"></iframe>
<pre id="found"></pre><script>
const frame = document.getElementById("frame");
frame.onload = () => {{
  const root = frame.contentDocument, style = e => frame.contentWindow.getComputedStyle(e);
  root.querySelectorAll("details").forEach(e => e.open = true);
  const seen = name => [...root.querySelectorAll(name)].filter(e => {{
    const box = e.getBoundingClientRect();
    return box.width > 0 && box.height > 0;
  }});
  const texts = seen("svg text").filter(e => e.textContent);
  const boxes = texts.map(e => e.getBoundingClientRect());
  const outside = texts.filter((e, i) => {{
    const view = e.ownerSVGElement.getBoundingClientRect(), box = boxes[i];
    return box.left < view.left - 1 || box.right > view.right + 1
      || box.top < view.top - 1 || box.bottom > view.bottom + 1;
  }});
  const covered = [];
  boxes.forEach((one, i) => boxes.forEach((other, j) => {{
    if (i < j && Math.min(one.right, other.right) - Math.max(one.left, other.left) > 1
        && Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 3)
      covered.push([texts[i].textContent, texts[j].textContent]);
  }}));
  document.getElementById("found").textContent = JSON.stringify({{
    page: root.documentElement.scrollWidth,
    body: root.body.getBoundingClientRect().width,
    charts: seen("svg").map(e => Math.round(e.getBoundingClientRect().width)),
    drawn: root.querySelectorAll("svg").length,
    parts: seen("h1, h2, p, dt, dd, table").length,
    all: root.querySelectorAll("h1, h2, p, dt, dd, table").length,
    font: Math.min(...seen("p, td, th, dt, dd").map(e => parseFloat(style(e).fontSize))),
    letters: Math.min(...texts.map(e =>
      parseFloat(style(e).fontSize) * e.getScreenCTM().a)),
    names: seen("svg text").length,
    outside: outside.map(e => e.textContent),
    covered,
    hidden: seen(".scroll").filter(e => e.scrollWidth > e.clientWidth + 1).length,
    wide: seen("section *, body > *").filter(e => !e.closest("svg")
      && e.getBoundingClientRect().right > {width} + 1).map(e => e.className || e.tagName),
    verdict: root.querySelector(".verdict").getBoundingClientRect().bottom,
    paper: style(root.body).backgroundColor,
    ink: style(root.body).color,
    label: style(root.querySelector("svg text[fill='var(--ink)']")
      || root.querySelector("p")).fill,
  }});
}};
</script>"""


def browser() -> str:
    """The browser's program; CI installs it."""
    named = os.environ.get("TFEDGE_BROWSER")
    found = named or shutil.which("chromium") or shutil.which("google-chrome")
    assert found, "no Chromium; on Debian: apt install chromium"
    return found


def probed(page: str, width: int, folder: Path, scheme: int = LIGHT) -> dict[str, Any]:
    """What the browser finds on a page."""
    probe = folder / "probe.html"
    probe.write_text(PROBE.format(width=width, page=html.escape(page)), encoding="utf-8")
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += ["--virtual-time-budget=5000", f"--blink-settings=preferredColorScheme={scheme}"]
    command += [f"--user-data-dir={folder / 'profile'}", "--dump-dom", probe.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    match = re.search(r'<pre id="found">(.+?)</pre>', done.stdout.decode(), re.S)
    assert match, done.stderr.decode()[-500:]
    return json.loads(html.unescape(match[1]))


@pytest.fixture(scope="module")
def pages(
    race: Path,
    inspected: Path,
    counted: Path,
    mission: Path,
    judged: Path,
    toys: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """A page of each command; the race has twelve contestants, most of them equally good."""
    folder = tmp_path_factory.mktemp("page")

    def crowd(content: dict[str, Any]) -> None:
        rows = content["contestants"]
        names = (f"a peer with a long name, which ends in what matters {i}" for i in range(9))
        rows += [{**rows[0], "kind": "peer", "name": name} for name in names]

    results = [changed(race, folder, crowd), inspected, counted, mission, judged]
    written, _ = write_report(results, folder / "report.html", "A report with a title").written
    (report,) = read_results([inspected])
    assert isinstance(report, Report)
    return {
        "report": written.read_text(encoding="utf-8"),
        "inspect": inspection.page(report),
        "check": edgetpu.page(check(toys / "int8.tflite")),
    }


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("name", ["report", "inspect", "check"])
def test_fits(pages: dict[str, str], name: str, width: int, tmp_path: Path) -> None:
    found = probed(pages[name], width, tmp_path)
    assert found["page"] <= width
    assert found["body"] == width
    assert found["wide"] == []
    assert found["parts"] == found["all"] >= 15
    assert found["font"] >= 13
    assert found["verdict"] < 300
    assert found["hidden"] == 0  # no table has to be pushed to be read
    assert len(found["charts"]) == found["drawn"] / 2
    assert set(found["charts"]) <= {width - 32}
    if name != "check":
        assert found["names"] > 20
        assert found["letters"] >= 12.5


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("name", ["report", "inspect"])
def test_nothing_is_covered_or_cut(
    pages: dict[str, str], name: str, width: int, tmp_path: Path
) -> None:
    found = probed(pages[name], width, tmp_path)
    assert found["outside"] == []
    assert found["covered"] == []


@pytest.mark.parametrize("name", ["report", "inspect", "check"])
def test_dark(pages: dict[str, str], name: str, tmp_path: Path) -> None:
    def light(color: str) -> float:
        return sum(map(int, re.findall(r"\d+", color)[:3])) / 765

    for scheme, is_dark in ((LIGHT, False), (DARK, True)):
        folder = tmp_path / str(scheme)
        folder.mkdir()
        found = probed(pages[name], PHONE, folder, scheme)
        assert (light(found["paper"]) < 0.2) is is_dark
        assert (light(found["ink"]) > 0.8) is is_dark
        if name != "check":  # it has no charts
            assert found["label"] == found["ink"]
