"""Differentially private release: from a frozen child table to noisy measurements, estimates and a privacy statement.

What a privacy reviewer reads, in the order in which things happen:

    policy        how much may be spent, and what is accurate enough        public, privacy/policy.yaml
    workload      what is asked: attributes, marginals, identities, cubes   public declarations
    plan          how much noise each measured marginal gets                public, hashed, made before data is read
    accuracy      what the plan will deliver                                public, spends nothing
    child_table   exact counts, and a keyed identity of the input           restricted zone, never stored
    mechanism     noise and its charge, both from OpenDP                    the only way out for a count
    ledger        what was charged, append-only                             never more than the approved cap
    store         the noisy integers, kept once                             restricted zone
    session       charge, draw, store, commit: once, through any crash      the only caller of the mechanism
    estimates     figures with exact variances                              post-processing
    nested        the same for councils and regions together                post-processing
    intervals     what a reader sees of them                                post-processing
    shrinkage     rates as a model sees them, labelled as such              post-processing
    statement     what is protected, and what is not                        public
    registry      the same in the fields of the OpenDP registry             public

`lattice`, `covariance` and `identities` hold the linear algebra; `ledger_storage`, `ledger_sqlite` and
`ledger_postgres`, where the ledger lives; `canonical`, the byte form of documents. The guarantee is rho-zCDP for one
row of the child table added or removed. Nothing here reads an extract, knows a table's title, or depends on how a run
is scheduled.
"""

from privacy.release.absent import without_categories
from privacy.release.accuracy import expected_difference_half_widths, expected_half_widths, expected_rate_half_widths
from privacy.release.child_table import ChildTableError, input_mac, true_counts
from privacy.release.covariance import Covariances
from privacy.release.estimates import Estimates
from privacy.release.intervals import (
    CountTable,
    DifferenceTable,
    RatioTable,
    Reliability,
    Remembered,
    published_counts,
    published_rates,
    published_ratios,
    rate_differences,
)
from privacy.release.ledger import (
    BudgetExceeded,
    BudgetNotApproved,
    Ledger,
    LedgerCorrupt,
    LedgerError,
    ReleaseConflict,
    Reservation,
)
from privacy.release.ledger_storage import Entry, LedgerUnavailable
from privacy.release.mechanism import ChargeError, Measurement, NoiseSource, OpenDPNoise, charge, epsilon, measure
from privacy.release.nested import estimates_of
from privacy.release.plan import Plan, PlanError, make_plan
from privacy.release.policy import Policy, PolicyError, load_policy
from privacy.release.session import ChargeLost, measure_once, measured_before
from privacy.release.shrinkage import MINIMUM_PLACES, NoisyRates, shrunk_rates
from privacy.release.statement import MeasuredCohort, privacy_page, privacy_record
from privacy.release.store import StoredMeasurement, StoreError
from privacy.release.workload import (
    Attribute,
    Batch,
    Cube,
    Family,
    Identity,
    LinearCombination,
    Marginal,
    Nesting,
    Selector,
    Term,
    WorkloadError,
)

__all__ = [
    "MINIMUM_PLACES",
    "Attribute",
    "Batch",
    "BudgetExceeded",
    "BudgetNotApproved",
    "ChargeError",
    "ChargeLost",
    "ChildTableError",
    "CountTable",
    "Covariances",
    "Cube",
    "DifferenceTable",
    "Entry",
    "Estimates",
    "Family",
    "Identity",
    "Ledger",
    "LedgerCorrupt",
    "LedgerError",
    "LedgerUnavailable",
    "LinearCombination",
    "Marginal",
    "MeasuredCohort",
    "Measurement",
    "Nesting",
    "NoiseSource",
    "NoisyRates",
    "OpenDPNoise",
    "Plan",
    "PlanError",
    "Policy",
    "PolicyError",
    "RatioTable",
    "ReleaseConflict",
    "Reliability",
    "Remembered",
    "Reservation",
    "Selector",
    "StoreError",
    "StoredMeasurement",
    "Term",
    "WorkloadError",
    "charge",
    "epsilon",
    "estimates_of",
    "expected_difference_half_widths",
    "expected_half_widths",
    "expected_rate_half_widths",
    "input_mac",
    "load_policy",
    "make_plan",
    "measure",
    "measure_once",
    "measured_before",
    "privacy_page",
    "privacy_record",
    "published_counts",
    "published_rates",
    "published_ratios",
    "rate_differences",
    "shrunk_rates",
    "true_counts",
    "without_categories",
]
