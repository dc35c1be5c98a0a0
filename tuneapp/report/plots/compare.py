"""The plot of runs side by side."""

from matplotlib.figure import Figure

from tuneapp.analysis.compare import UNITS, Comparison
from tuneapp.analysis.scale import Scale
from tuneapp.report.style import SERIES, brief, dress, metric_label, new_figure, scale_values


def comparison_plot(comparison: Comparison) -> Figure:
    """The incumbent over trials, iterations and seconds, one line per run; grey where only some go on."""
    metric = comparison.studies[0].metric
    scale = Scale.of((value for course in comparison.courses for value in course.value), metric.mode)
    figure = new_figure(12.0, 4.4)
    panels = figure.subplots(1, len(UNITS), sharey=True)
    for axes, (unit, label) in zip(panels, UNITS.items(), strict=True):
        dress(axes)
        cost_scale = Scale.of([cost for course in comparison.courses for cost in course.cost[unit]])
        for position, course in enumerate(comparison.courses):
            points = [(c, v) for c, v in zip(course.cost[unit], course.value, strict=True) if v is not None]
            if points:
                x, y = (list(each) for each in zip(*points, strict=True))
                colour = SERIES[position % len(SERIES)]
                costs, places = cost_scale.units(x), scale.place(y)
                axes.step(
                    costs, places, where="post", linewidth=1.8, label=brief(course.name, 40),
                    color=colour, linestyle=("-", "--")[position // len(SERIES) % 2],
                )  # fmt: skip
                axes.plot(costs[-1], places[-1], "o", color=colour, markersize=4)
        budget, largest = comparison.budget(unit), max(course.whole(unit) for course in comparison.courses)
        if 0 < budget < largest:
            ends = (float(cost_scale.units(budget)), float(cost_scale.units(largest)))
            axes.axvspan(*ends, color="#000000", alpha=0.06, linewidth=0)
        axes.set_xlabel(cost_scale.named(label))
    scale_values(panels[0], scale)
    panels[0].set_ylabel(f"best {scale.named(metric_label(metric.name))} so far")
    tasks = ", ".join(dict.fromkeys(brief(study.request.task, 60) for study in comparison.studies))
    figure.suptitle(
        f"{tasks}: best {brief(metric.name)} so far at equal cost (grey: beyond the smallest run's)",
        x=0.01, ha="left", fontsize=11,
    )  # fmt: skip
    handles, labels = panels[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower left", ncols=3, frameon=False, fontsize=9)
    return figure
