"""The page: one file, offline, every word of a user's escaped."""

from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from tuneapp.report.tables import counts_in_words, duration, trials_frame, wall_seconds
from tuneapp.studies import Study


def render(study: Study) -> str:
    template = files("tuneapp.report").joinpath("assets/page.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    frame = trials_frame(study)
    return environment.from_string(template).render(
        study=study,
        counts=counts_in_words(study),
        seconds=duration(wall_seconds(study)),
        columns=list(frame.columns),
        rows=frame.head(1000).astype(object).where(frame.notna(), "").to_numpy().tolist(),
    )
