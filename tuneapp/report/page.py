"""The page: one file that opens offline. It may load nothing, and runs no script but its own two."""

import base64
import hashlib
import json
import shlex
import time
from functools import cache, partial
from importlib.resources import files
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from tuneapp.analysis import diagnosis
from tuneapp.analysis.analysis import Analysis
from tuneapp.analysis.effects.judge import Effects
from tuneapp.analysis.numbers import number, text
from tuneapp.analysis.repeats import RepeatedConfig
from tuneapp.report import charts, story
from tuneapp.report.effects import curve_panels, findings_of, table_of
from tuneapp.report.guard import LeftOut
from tuneapp.report.tables import config_text, one_line, trials_frame, varied_names
from tuneapp.report.views import better
from tuneapp.studies import Study

MAX_CELLS = 16_000  # of the table: some 1,000 rows; trials.csv has them all
MAX_GROUPS = 50  # of equal failures
MAX_REPEATED = 20  # configs on several seeds
REFRESH_SECONDS = 15

# Further parts that can be left out, beside those of charts.py.
TABLE = "the table of trials"
OUTCOMES = "the tables of effects"
REPEATS = "the table of configs on several seeds"
PROVENANCE = "the provenance"


def render(analysis: Analysis, left_out: LeftOut) -> str:
    """The page as HTML. What can't be made is left out, with a sentence in its place and in `left_out`."""
    study = analysis.study
    progress = story.progress_of(study)
    data = charts.chart_data(analysis, left_out)
    libraries = [_asset("echarts.js"), _asset("page.js")]
    columns: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    outcomes: list[dict[str, Any]] = []
    repeats: list[RepeatedConfig] = []
    facts: dict[str, Any] = {"facts": [], "settings": [], "space": "", "command": ""}
    with left_out.guard(TABLE):
        columns, rows = _table(analysis)
    with left_out.guard(OUTCOMES):
        outcomes = _outcomes(analysis.effects) if analysis.effects else []
    with left_out.guard(REPEATS):
        repeats = analysis.repeats[:MAX_REPEATED]
    with left_out.guard(PROVENANCE):
        facts = _provenance(study)
    groups = story.failure_groups(study)
    best = analysis.best
    return _template().render(
        study=study,
        parts=charts,
        left_out=left_out.by_part,
        table_part=TABLE,
        outcomes_part=OUTCOMES,
        repeats_part=REPEATS,
        provenance_part=PROVENANCE,
        refresh=REFRESH_SECONDS if progress == "running" else 0,
        written=time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src {' '.join(map(_hash, libraries))}",
        style=Markup(_asset("page.css")),
        scripts=[Markup(library) for library in libraries],
        data=Markup(_json(data)),
        sentences=story.sentences(analysis, progress),
        best=best,
        best_value="" if best is None else number(study.value(best) or 0.0),
        best_config=yaml.safe_dump(_plain(best.config), sort_keys=False) if best else "",
        better=better,
        number=number,
        importances=data["importances"] or [],
        data_of=data,
        alt=_alternatives(analysis, data),
        columns=columns,
        rows=rows,
        groups=groups[:MAX_GROUPS],
        more_groups=max(0, len(groups) - MAX_GROUPS),
        effects=analysis.effects,
        outcomes=outcomes,
        fronts=analysis.fronts,
        config_text=partial(config_text, names=varied_names(study)),
        repeats=repeats,
        written_at=round(time.time()),
        rules=[
            *((kind, rule[2]) for kind, rule in diagnosis.RULES.items()),
            ("unstable", diagnosis.UNSTABLE_RULE),
        ],
        percent=lambda share: f"{share:.0%}",
        **facts,
    )


def _outcomes(effects: Effects) -> list[dict[str, Any]]:
    """Per table of effects: its text, and the metrics whose curves are drawn."""
    outcomes = []
    for outcome in effects.tables:
        head, lines = table_of(effects, outcome)
        findings = [(row.label, finding) for row in outcome.rows for finding in findings_of(row)]
        panels = curve_panels(outcome)
        outcomes.append(
            {
                "title": outcome.table.title,
                "verdict": outcome.verdict,
                "head": head,
                "lines": lines,
                "panels": panels,
                "findings": findings,
            }
        )
    return outcomes


def _provenance(study: Study) -> dict[str, Any]:
    return {
        "facts": list(_flat(study.facts)),
        "settings": list(_flat(_settings(study))),
        "space": yaml.safe_dump(_plain(study.request.space), sort_keys=False),
        "command": _command(study),
    }


def _alternatives(analysis: Analysis, data: dict[str, Any]) -> dict[str, str]:
    """What each chart shows, for readers who do not see it."""
    study, name, best = analysis.study, analysis.study.metric.name, analysis.best
    top = (
        f"the best is trial {best.number} with {number(study.value(best) or 0.0)}"
        if best
        else "no result yet"
    )
    steps = data["progress"]["steps"]
    course = "; ".join(f"{value} after {count} trials" for count, value in steps[-7:-1]) or "no result yet"
    lanes = data["timeline"]["lanes"]
    return {
        "results": f"Scatter chart of {name} over the number of the trial: {top}.",
        "best": f"Step chart of the best {name} so far: {course}.",
        "curves": f"Line chart of {name} over iterations for {len(data['curves']['lines'])} trials: {top}.",
        "parallel": f"Parallel coordinates of {len(data['axes'])} hyperparameters and {name}: {top}.",
        "map": f"Scatter chart of the trials over two hyperparameters, coloured by {name}: {top}.",
        "timeline": f"Bar chart of which of {len(lanes)} workers ran which trial, and when.",
    }


def _table(analysis: Analysis) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Columns and rows of the table of trials: the best first where not all fit."""
    frame = trials_frame(analysis.study).drop(columns=["started", "ended", "seed", "worker"], errors="ignore")
    limit = max(50, MAX_CELLS // max(1, len(frame.columns)))
    if len(frame) > limit:
        top = [trial.number for trial in analysis.ranked[:limit]]
        rest = [number for number in range(len(frame)) if number not in set(top)]
        frame = frame.loc[sorted([*top, *rest][:limit])]
    numeric = [_is_numeric(frame.iloc[:, position]) for position in range(len(frame.columns))]
    columns = [
        {"name": one_line(str(name), 100), "numeric": numeric[position]}
        for position, name in enumerate(frame.columns)
    ]
    best = analysis.best.number if analysis.best else -1
    rows = [
        {
            "number": int(record[0]),
            "best": record[0] == best,
            "state": record[1],
            "cells": [_cell(value) for value in record],
        }
        for record in frame.itertuples(index=False, name=None)
    ]
    return columns, rows


def _cell(value: Any) -> str:
    missing = value is None or (isinstance(value, float) and value != value)
    return "" if missing else one_line(text(value), 120)


def _is_numeric(column: Any) -> bool:
    values = [value for value in column if _cell(value) != ""]
    return bool(values) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )


def _command(study: Study) -> str:
    argv = study.facts.get("argv")
    return shlex.join(["tuneapp", *map(str, argv)]) if isinstance(argv, list) and argv else ""


def _settings(study: Study) -> dict[str, Any]:
    """The request without its space and its plan, which have parts of their own."""
    settings = {key: value for key, value in study.request.to_json().items() if key != "space"}
    settings["search"] = {key: value for key, value in settings["search"].items() if key != "plan"}
    return settings


def _flat(data: Any, prefix: str = "") -> Any:
    """(dotted name, text) of nested facts."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None and key != "argv":
            yield (
                f"{prefix}{key}",
                ", ".join(map(text, value)) or "none" if isinstance(value, list) else text(value),
            )


def _plain(value: Any) -> Any:
    """Only what YAML writes without tags."""
    return json.loads(json.dumps(value, default=str))


def _json(data: Any) -> str:
    """For a script element: nothing in it can end the element or start a comment."""
    packed = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return packed.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_asset("page.html.j2"))


@cache
def _asset(name: str) -> str:
    return files("tuneapp.report").joinpath("assets", name).read_text(encoding="utf-8")


@cache
def _hash(script: str) -> str:
    """As a content security policy names a script that may run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
