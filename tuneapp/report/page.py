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
from tuneapp.analysis.axes import number, text
from tuneapp.report import story
from tuneapp.report.charts import chart_data, panels_of
from tuneapp.report.effects import Effects, findings_of, is_effects, table_of
from tuneapp.report.repeats import repeated
from tuneapp.report.surrogate import NOISE
from tuneapp.report.tables import config_in_words, leaders, trials_frame, varied_names
from tuneapp.report.views import better, front, second_value
from tuneapp.studies import Study

MAX_CELLS = 16_000  # of the table: some 1,000 rows; trials.csv has them all
MAX_GROUPS = 50  # of equal failures
REFRESH_SECONDS = 15


def render(study: Study) -> str:
    progress = story.progress_of(study)
    found = Effects(study) if is_effects(study) else None
    data = chart_data(study, found)
    libraries = [_asset("echarts.js"), _asset("page.js")]
    columns, rows = _table(study)
    groups = story.failure_groups(study)
    best = study.best
    return _template().render(
        study=study,
        refresh=REFRESH_SECONDS if progress == "running" else 0,
        written=time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src {' '.join(map(_hash, libraries))}",
        style=Markup(_asset("page.css")),
        scripts=[Markup(library) for library in libraries],
        data=Markup(_json(data)),
        sentences=story.sentences(study, progress),
        best_config=yaml.safe_dump(_plain(best.config), sort_keys=False) if best else "",
        command=_command(study),
        better=better(study),
        importances=[item for item in data["importances"] or [] if item["name"] != NOISE],
        noise=next((item["high"] for item in data["importances"] or [] if item["name"] == NOISE), 0.0),
        model_words=data.get("trust") or data.get("why_not"),
        data_of=data,
        alt=_alternatives(study, data),
        columns=columns,
        rows=rows,
        groups=groups[:MAX_GROUPS],
        more_groups=max(0, len(groups) - MAX_GROUPS),
        effects=found,
        fronts=[(second, front(study, second)) for second in study.request.also],
        second_value=second_value,
        in_words=partial(config_in_words, names=varied_names(study)),
        repeats=repeated(study)[:20],
        written_at=round(time.time()),
        table_of=table_of,
        findings_of=findings_of,
        panels_of=panels_of,
        rules=[
            *((kind, rule[2]) for kind, rule in diagnosis.RULES.items()),
            ("unstable", diagnosis.UNSTABLE_RULE),
        ],
        facts=list(_flat(study.facts)),
        settings=list(_flat(_settings(study))),
        space=yaml.safe_dump(_plain(study.request.space), sort_keys=False),
        percent=lambda share: f"{share:.0%}",
    )


def _alternatives(study: Study, data: dict[str, Any]) -> dict[str, str]:
    """What each chart shows, for readers who do not see it."""
    name, best = study.metric.name, study.best
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


def _table(study: Study) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Columns and rows of the table of trials: the best first where not all fit."""
    frame = trials_frame(study).drop(columns=["started", "ended", "seed", "worker"], errors="ignore")
    limit = max(50, MAX_CELLS // max(1, len(frame.columns)))
    if len(frame) > limit:
        ranked = [trial.number for trial in leaders(study, limit)]
        rest = [number for number in range(len(frame)) if number not in set(ranked)]
        frame = frame.loc[sorted([*ranked, *rest][:limit])]
    numeric = {column: _is_numeric(frame[column]) for column in frame.columns}
    columns = [{"name": str(column), "numeric": numeric[column]} for column in frame.columns]
    best = study.best.number if study.best else -1
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
    return "" if missing else text(value)[:120]


def _is_numeric(column: Any) -> bool:
    found = [value for value in column if _cell(value) != ""]
    return bool(found) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in found
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
    """(dotted name, words) of nested facts."""
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
