"""What `tfedge run` prints."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tfedge import tasks

if TYPE_CHECKING:
    from tfedge.recipes.result import RunReport, Search


def stages_summary(report: RunReport) -> str:
    """What `tfedge run` prints: of a dry run what each stage would do, else what it made."""
    lines = _search_lines(report.search) if report.search else []
    for stage in report.stages:
        if report.dry_run:
            lines.append(f"{stage.stage}: {stage.action}, {stage.reason}")
            if stage.action != "skip":
                lines.append(f"    {shlex.join(stage.command)}")
        else:
            done = "kept" if stage.action == "skip" else "made"
            figures = _stage_figures(stage.result or {})
            lines.append(f"{stage.stage:<9}{done}  {stage.output}{figures}")
    return "\n".join(lines)


def _search_lines(search: Search) -> list[str]:
    """What was tried, the best first; without what was ended early."""
    from tfedge.recipes.result import shown_setting

    ended = [trial for trial in search.trials if trial.figure is not None]
    early = len(search.trials) - len(ended)
    lines = [
        f"  {search.goal} {trial.figure:.4f}  {', '.join(map(shown_setting, trial.settings.items()))}"
        for trial in sorted(ended, key=lambda trial: -(trial.figure or 0.0))
    ]
    return [f"searched: {len(search.trials)} trials, {early} of them ended early", *lines]


def _stage_figures(result: Mapping[str, Any]) -> str:
    """The figure that a stage's report is about, if it has one: accuracy, F1 ..."""
    from tfedge.measure.stated import goal_of

    runtimes = result.get("evaluation", {}).get("runtimes", {})
    usual = tasks.find(result["task"]).score if "task" in result else "accuracy"
    converted = next(filter(None, map(goal_of, runtimes.values())), usual)
    name = result.get("goal") or converted
    found = {"": (result.get("figures") or result).get(name)}
    found |= {f" in {runtime}": figures.get(name) for runtime, figures in runtimes.items()}
    parts = [f"{100 * value:.2f} %{where}" for where, value in found.items() if value is not None]
    return f"  {name.replace('_', ' ')} {', '.join(parts)}" if parts else ""
