"""When a record says that a service had a concern about a child: SQL over the contract's columns of its row."""

from __future__ import annotations

from sources.reference.asq3 import cut_offs


def of_review(below_cut_off: str | None = None) -> str:
    """Of a health-visitor review: a concern, a referral, or an ASQ-3 domain below its cut-off.

    `below_cut_off` is a condition for the last, where the rows have one already.
    """
    below = below_cut_off or " OR ".join(
        f"coalesce(asq3_months = '{months}' AND {domain} < {cut_off}, false)"
        for (domain, months), cut_off in cut_offs().items()
    )
    return f"(coalesce(concern = 'Y', false) OR coalesce(referral = 'Y', false) OR {below})"


def of_setting() -> str:
    """Of a row of the early years census: a progress check with a concern, or special educational needs."""
    return "coalesce(progress_check_outcome = 'concern' OR sen_provision IN ('K', 'E'), false)"


def of(source: str) -> str | None:
    """Of a row of any source; None where its rows say nothing of concerns."""
    by_source = {"hv_reviews": of_review, "early_years_census": of_setting}
    return by_source[source]() if source in by_source else None
