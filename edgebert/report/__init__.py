"""What a run found, as JSON, a page, a picture and a table in the terminal."""

from edgebert.report.serial import read_report as read_report
from edgebert.report.write import write_report as write_report
