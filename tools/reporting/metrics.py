"""Formatting of a metric's values, in percent or in the metric's own unit."""

from __future__ import annotations

from tools.reporting.wording import MINUS, NONE, PLUS_MINUS, SPACE, percent, points
from trainer.metrics import Metric


def heading(metric: Metric) -> str:
    """Return the metric's label as it begins a sentence."""
    return metric.label[:1].upper() + metric.label[1:]


def axis(metric: Metric) -> str:
    """Return the label of an axis, with its unit: "accuracy, %"."""
    return f"{metric.label}, {metric.unit}" if metric.unit else metric.label


def column(metric: Metric) -> str:
    """Return a table column's heading; cells of a metric in percent have the unit themselves."""
    return heading(metric) if metric.percent or not metric.unit else f"{heading(metric)}, {metric.unit}"


def scale(metric: Metric) -> float:
    """Return the factor by which values are multiplied before they are drawn."""
    return 100.0 if metric.percent else 1.0


def cell(metric: Metric, value: float | None) -> str:
    """Return a value for a table whose heading is `column`: 91.23%, 0.4000."""
    if value is None:
        return NONE
    return percent(value, 2) if metric.percent else _decimal(value)


def exact(metric: Metric, value: float | None) -> str:
    """Return a value with its unit, as exact as in a table: 91.23%, 0.4000 nats."""
    return _with_unit(metric, cell(metric, value), value)


def short(metric: Metric, value: float | None) -> str:
    """Return a value with its unit for a sentence: 91.2%, 0.4 nats."""
    if value is None:
        return NONE
    if metric.percent:
        return percent(value)
    return _with_unit(metric, f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}", value)


def difference(metric: Metric, value: float | None, base: float | None) -> str:
    """Return a signed difference: of a metric in percent in points, else in its unit."""
    if metric.percent or value is None or base is None:
        return points(value, base)
    said = _decimal(abs(value - base))
    sign = PLUS_MINUS if not said.strip("0.,") else "+" if value > base else MINUS
    return f"{sign}{said}"


def deviation(metric: Metric, value: float | None, digits: int = 2) -> str:
    """Return a standard deviation: of a metric in percent in points with ``digits``, else in its unit."""
    if value is None:
        return NONE
    return f"{100 * value:.{digits}f}" if metric.percent else _decimal(value)


def unit_of_difference(metric: Metric) -> str:
    """Return the unit of differences and deviations; "" if there is none."""
    return "points" if metric.percent else metric.unit


def best(metric: Metric) -> str:
    """Return the name of the best of several values: "maximum" or "minimum"."""
    return "maximum" if metric.higher_is_better else "minimum"


def direction(metric: Metric) -> str:
    """Return the metric's direction in words."""
    return "higher is better" if metric.higher_is_better else "lower is better"


def _decimal(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.1f}"
    return f"{value:.4f}" if abs(value) >= 1e-3 or value == 0 else f"{value:.4g}"


def _with_unit(metric: Metric, said: str, value: float | None) -> str:
    if value is None or metric.percent or not metric.unit:
        return said
    return f"{said}{SPACE}{metric.unit}"
