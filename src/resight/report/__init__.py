"""The report: one self-contained HTML file of a run's curves and ranked strips."""

from resight.report.page import write_report
from resight.report.strips import Strip, StripItem, ranked_strips

__all__ = ["Strip", "StripItem", "ranked_strips", "write_report"]
