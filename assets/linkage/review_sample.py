"""The sample of pairs drawn for a cohort's clerical review, and the releases that measured one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from assets.home.paths import CohortStore
from assets.linkage import inputs
from privacy.linkage.cells import REVIEW
from privacy.release.ledger import Ledger


@dataclass(frozen=True)
class Sample:
    """A drawn sample: its number in the cohort, the deliveries and parameters it was drawn from, and published
    children."""

    number: int
    deliveries: Mapping[str, str]
    parameters: str
    children: int

    @classmethod
    def read(cls, store: CohortStore) -> Sample | None:
        """Return the latest sample of a cohort, or None."""
        path = store.review / "sample.json"
        return cls(**json.loads(path.read_bytes())) if path.exists() else None

    def is_of_links(self, store: CohortStore) -> bool:
        """Return whether the cohort's links were made from the deliveries that the sample was drawn from."""
        now = inputs.get_delivery_macs(inputs.read_linked_extracts(store)), inputs.read_link_parameters(store)[0]
        return now == (self.deliveries, self.parameters)


def list_measured_reviews(store: CohortStore) -> list[str]:
    """Return the releases that measured a sample of the cohort, in order; none if there is no ledger."""
    if not store.home.has_ledger:
        return []
    found = [each for each in Ledger(store.home.ledger).list_charges() if each.is_committed]
    return [each.entry.release for each in found if (each.entry.cohort, each.entry.family) == (store.cohort, REVIEW)]


def find_measuring_release(store: CohortStore) -> str | None:
    """Return the release that measured the cohort's newest sample, or None."""
    sample, measured = Sample.read(store), list_measured_reviews(store)
    return measured[sample.number - 1] if sample and sample.number <= len(measured) else None
