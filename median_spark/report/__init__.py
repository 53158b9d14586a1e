"""The report page of a result: one self-contained HTML file, made from a finished result."""

from median_spark.report.page import report_page, write_report
from median_spark.report.sections import FEW_CELLS

__all__ = ["FEW_CELLS", "report_page", "write_report"]
