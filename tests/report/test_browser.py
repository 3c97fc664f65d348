"""The report in a browser, at the widths of a desktop and of a phone: `make test-report`."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tfedge.report.write import write_report

pytestmark = pytest.mark.browser
DESKTOP, PHONE = 1280, 390

# Shows the page in a frame of a width, measures, and leaves what it found in the document.
PROBE = """<!doctype html><meta charset="utf-8"><body style="margin:0">
<iframe id="frame" style="border:0;width:{width}px;height:900px" srcdoc="{page}"></iframe>
<pre id="found"></pre><script>
const frame = document.getElementById("frame");
frame.onload = () => {{
  const root = frame.contentDocument;
  const boxes = name => [...root.querySelectorAll(name)].map(e => e.getBoundingClientRect());
  const shown = boxes("h1, h2, p, svg, table").filter(box => box.width > 0 && box.height > 0);
  const labels = [...root.querySelectorAll("svg text")];
  const outside = labels.filter(label => {{
    const box = label.getBBox(), view = label.ownerSVGElement.viewBox.baseVal;
    return box.x < -1 || box.x + box.width > view.width + 1;
  }});
  document.getElementById("found").textContent = JSON.stringify({{
    page: root.documentElement.scrollWidth,
    elements: root.querySelectorAll("h1, h2, p, svg, table").length,
    shown: shown.length,
    font: Math.min(...[...root.querySelectorAll("p, td, th")].map(
      e => parseFloat(frame.contentWindow.getComputedStyle(e).fontSize))),
    outside: outside.map(label => label.textContent),
    wide: [...root.querySelectorAll("section > *, body > *")].filter(
      e => e.getBoundingClientRect().right > {width} + 1).map(e => e.className || e.tagName),
  }});
}};
</script>"""


def browser() -> str:
    """The browser's program; CI installs it."""
    named = os.environ.get("TFEDGE_BROWSER")
    found = named or shutil.which("chromium") or shutil.which("google-chrome")
    assert found, "no Chromium; on Debian: apt install chromium"
    return found


@pytest.fixture(scope="module")
def page(
    race: Path,
    inspected: Path,
    counted: Path,
    mission: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    folder = tmp_path_factory.mktemp("page")
    results = [race, inspected, counted, mission]
    written, _ = write_report(results, folder / "report.html", "A report with a title")
    return written.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_fits(page: str, width: int, tmp_path: Path) -> None:
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE.format(width=width, page=html.escape(page)), encoding="utf-8")
    command = [
        browser(),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=5000",
    ]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", probe.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    dom = done.stdout.decode()
    match = re.search(r'<pre id="found">(.+?)</pre>', dom, re.S)
    assert match, done.stderr.decode()[-500:]
    found = json.loads(html.unescape(match[1]))
    assert found["page"] <= width
    assert found["wide"] == []
    assert found["elements"] == found["shown"] >= 15
    assert found["outside"] == []
    assert found["font"] >= 13
