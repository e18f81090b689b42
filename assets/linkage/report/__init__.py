"""The linkage report of a cohort, for the project's staff in the restricted zone: true counts, agreement patterns.

The facts of the linkage come from `privacy.linkage.report`; `groups` adds who is linked, `weighting` what missed links
may do to the linked tables. `page` makes the document, of `sections` and `charts`. No token, child or row number is in
it.
"""

from assets.linkage.report.groups import rates_by_group
from assets.linkage.report.page import render
from assets.linkage.report.weighting import weighted_figures

__all__ = ["rates_by_group", "render", "weighted_figures"]
