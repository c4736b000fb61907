"""The page that a person looks at: ``report/index.html``, self-contained, and a contact sheet beside it."""

from dcgan_data.report.page import write_report
from dcgan_data.report.pictures import contact_sheet

__all__ = ["contact_sheet", "write_report"]
