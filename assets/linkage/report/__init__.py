"""The linkage report of a cohort, for the project's staff in the restricted zone: true counts, agreement patterns.

The facts of the linkage come from `privacy.linkage.report`; `rates` adds who is linked, and what missed links may do to
the linked tables. `page` makes the document, of a template and the page kit. No token, child or row number is in it.
"""

from assets.linkage.report.page import render
from assets.linkage.report.rates import rates_by_group, weighted_figures

__all__ = ["rates_by_group", "render", "weighted_figures"]
