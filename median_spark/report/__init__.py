"""The report page of a result: one self-contained HTML file.

It stands below the results, knows a result's files by their names and columns only, and so can be called by whoever
writes them, on a folder that is finished but not yet published.
"""

from median_spark.report.page import REPORT_NAME, report_page, write_report
from median_spark.report.sections import FEW_CELLS

__all__ = ["FEW_CELLS", "REPORT_NAME", "report_page", "write_report"]
