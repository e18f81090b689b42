"""Facts about a release other than its tables, including its publisher.

The publisher's name, contact, address and status come from a file of the installation. A demonstration, whose records
are made up, does not need one, and everything it publishes begins with a notice that says so. Any other release must
not have a placeholder as its address or contact.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from pydantic import AfterValidator

from ndl_export.facts.noisy_counts import COVARIANCE_SCHEMA, NoisyByCohort
from ndl_export.facts.on_request import OnRequest, merge_tables
from ndl_export.tables import Table
from ndl_export.tables.geography import Geography, list_geographies
from privacy.doors.environment import PUBLISHER, get_settings
from privacy.doors.settings_file import InvalidSettings, Problem, Settings, Text, build_fault_validator, read_settings

_TEMPLATE = Path(__file__).parent / "publisher.yaml"
"""The file to copy and fill in."""
_SYNTHETIC = Path(__file__).parent / "publisher_synthetic.yaml"
_PLACEHOLDER = re.compile(
    r"(?:[@.]|//)(?:(?:example|invalid|localhost|test)|example\.(?:com|net|org))(?=$|[/:])|\btodo\b", re.IGNORECASE
)
"""A host, or the end of one, that RFC 2606 and 6761 reserve, so that it can belong to no one; or a remaining TODO."""


class InvalidPublisher(InvalidSettings):
    """A publisher file that cannot be used."""


def _require_form(form: str, words: str) -> AfterValidator:
    return build_fault_validator(lambda text: None if re.fullmatch(form, text) else f"must be {words}")


class Publisher(Settings):
    """Who publishes a release.

    `address` is the URL of the release directory, without a final slash; `organisation` its name on GOV.UK; `notice`
    begins every document; `doi` identifies all releases together.
    """

    name: Text
    contact: Annotated[Text, _require_form(r"[^\s@]+@[^\s@]+\.[^\s@]+", "an e-mail address")]
    address: Annotated[
        Text,
        AfterValidator(lambda text: text.rstrip("/")),
        _require_form(r"https?://[^\s/?#]+[^\s?#]*", "a web address without ? or #"),
    ]
    organisation: Annotated[
        Text, _require_form(r"[a-z0-9]+(-[a-z0-9]+)*", "a name in small letters, digits and hyphens")
    ]
    status: Text
    notice: Text = ""
    doi: Annotated[
        Text, _require_form(r"10\.[0-9]{4,}(\.[0-9]+)*/\S+", "a DOI such as 10.1234/abc, without https://doi.org/")
    ] = ""


def load_publisher(*, demonstration: bool) -> Publisher:
    """Return the publisher of this installation.

    A `demonstration` adds the notice that no record is about a real child. Raises `InvalidPublisher`, also for a
    placeholder outside a demonstration.
    """
    own = get_settings().publisher
    if not demonstration:
        # The template holds placeholders, so a real release without a publisher file is refused.
        place = own or _TEMPLATE
        found = read_publisher(place)
        for key, value in vars(found).items():
            if _PLACEHOLDER.search(value):
                sentence = (
                    f"{key} is a placeholder ({value}), and only a demonstration is published under one: write who"
                    f" publishes into a file of your own, and name it in {PUBLISHER}"
                )
                raise InvalidPublisher([Problem(str(place), 1, 1, sentence)])
        return found
    synthetic = read_publisher(_SYNTHETIC)
    stated = read_publisher(own) if own else synthetic
    # Without a file of the installation both notices are the same one.
    return stated.model_copy(update={"notice": " ".join(dict.fromkeys((synthetic.notice, stated.notice))).strip()})


def read_publisher(path: Path) -> Publisher:
    """Return the publisher described by a YAML file. Raises `InvalidPublisher`."""
    return read_settings(path, Publisher, InvalidPublisher)


TITLE = "School readiness: linked early-years statistics"
_VERSION = re.compile(r"([0-9]{4})\.(0[1-9]|1[0-2])\.([0-9]{1,4})")
EARLIEST_YEAR = 2020
MONTHS_AHEAD = 12
"""Largest number of months between the making of a release and its month of publication."""


class InvalidVersion(ValueError):
    """A version that is not written year.month.number, or cannot be used today."""


@dataclass(frozen=True, order=True)
class Version:
    """A calendar version such as 2026.11.0; ordered by year, month and number."""

    year: int
    month: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read a version. Raises `InvalidVersion`."""
        match = _VERSION.fullmatch(text)
        # Without this, 2026.11.00 would be a second name of 2026.11.0.
        if not match or str(int(match[3])) != match[3]:
            raise InvalidVersion(f"{text!r} is not a release version: write year.month.number as 2026.11.0")
        return cls(*(int(part) for part in match.groups()))

    @staticmethod
    def is_valid(text: str) -> bool:
        """Return whether the text is a version."""
        try:
            Version.parse(text)
        except InvalidVersion:
            return False
        return True

    def check_is_new(self, today: dt.date) -> None:
        """Raise `InvalidVersion` if its month is too far ahead of today, or too old, to start a release."""
        ahead = 12 * (self.year - today.year) + self.month - today.month
        if self.year < EARLIEST_YEAR or ahead > MONTHS_AHEAD:
            raise InvalidVersion(
                f"a release that is begun in {today:%B %Y} cannot be of {self.year:04d}.{self.month:02d}: its version"
                f" names the month of its publication, at most {MONTHS_AHEAD} months ahead, and no year before"
                f" {EARLIEST_YEAR}"
            )

    def __str__(self) -> str:
        return f"{self.year:04d}.{self.month:02d}.{self.number}"

    @property
    def published_in(self) -> str:
        """Its month of publication: '2026-11'."""
        return f"{self.year:04d}-{self.month:02d}"


@dataclass(frozen=True)
class Thresholds:
    """Limits beyond which a percentage or average is flagged.

    Half-widths are those of the 95% interval, in points per hundred of the figure's range.
    """

    unreliable_half_width: float
    withheld_half_width: float
    denominator_standard_errors: float


@dataclass(frozen=True)
class ReleaseFacts:
    """Everything in a bundle that is not a table, a definition or public reference data.

    - `published_on`: the announced day if `was_announced`, else the day it was made, as '2026-11-26'.
    - `cohorts`: codes such as '202425'; `councils`: folder names.
    - `privacy_record`: JSON-ready, with the keys that `bundle.checks` requires; `privacy_page`: the same as Markdown.
    - `noisy_counts`: by cohort and family, the source of every figure; `noise_covariance`: the covariances of their
      noise.
    - `publisher`, `contact`, `address`, `organisation`, `status`, `notice` and `doi`: as in `Publisher`.
    - `missing`: by cohort and source, the participating councils that had not sent it when the cohort was measured.
    - `on_request`: the requested tables.

    Nothing is read from the clock or the machine: the bytes of a bundle depend only on these facts and its tables.
    Raises `InvalidVersion`.
    """

    version: str
    published_on: str
    cohorts: tuple[str, ...]
    councils: tuple[str, ...]
    privacy_record: dict[str, Any]
    privacy_page: str
    noisy_counts: NoisyByCohort
    publisher: str
    contact: str
    address: str
    organisation: str
    status: str
    thresholds: Thresholds
    missing: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    notice: str = ""
    doi: str = ""
    was_announced: bool = False
    noise_covariance: pa.Table = field(default_factory=COVARIANCE_SCHEMA.empty_table)
    on_request: OnRequest = field(default_factory=OnRequest)

    def __post_init__(self) -> None:
        Version.parse(self.version)
        # Every cohort has an entry, in one order, whatever was given: it is written into the bundle.
        object.__setattr__(self, "missing", {cohort: self.missing.get(cohort, {}) for cohort in sorted(self.cohorts)})

    @property
    def tables(self) -> dict[str, Table]:
        """Every table of the release by name, those on request last."""
        return merge_tables(self.on_request.tables)

    def describe_table(self, table: Table) -> str:
        """Return a table's description and population and, if it is on request, who requested it."""
        origin = self.on_request.origins.get(table.name)
        return f"{table.about}. {origin}" if origin else table.about

    @property
    def measured_in(self) -> Mapping[str, str]:
        """By cohort, the release that its noisy counts were drawn for: this one or an earlier one."""
        return {entry["cohort"]: entry["measured_in"] for entry in self.privacy_record["cohorts"]}

    @property
    def folder_address(self) -> str:
        """URL of the bundle's folder, without a final slash."""
        return f"{self.address}/{self.version}"

    @property
    def areas(self) -> tuple[Geography, ...]:
        """The areas that the tables have rows for."""
        return list_geographies(self.councils)
