"""Facts about a release other than its tables: publisher, version, what it replaces, and withdrawals.

The publisher's name, contact, address and status come from a file of the installation. A demonstration, whose records
are made up, does not need one, and everything it publishes begins with a notice that says so. Any other release must
not have a placeholder as its address or contact.

`ReleaseFacts` is what a bundle is made from, `PublishedRelease` one as it was published. A release replaces the newest
older release whose cohorts it all includes. `withdrawn.json`, beside the bundles, has withdrawn releases with date and
reason; it is not signed, and is compared with the signed withdrawals before it is sent.
"""

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import AfterValidator

from ndl_export.facts.noisy_counts import COVARIANCE_SCHEMA, NOISE_COVARIANCE_FILE, NoisyByCohort
from ndl_export.facts.on_request import OnRequest, RequestedTable, merge_tables
from ndl_export.files.whole_files import format_json, write_whole
from ndl_export.pages.number_format import end_sentence, format_day
from ndl_export.tables import Table, geography
from privacy.doors.environment import PUBLISHER, get_settings
from privacy.doors.settings_file import InvalidSettings, Problem, Settings, Text, build_fault_validator, read_settings
from privacy.doors.typed import is_line

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
    """The publisher of a release.

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
    # Without a file of the installation, both notices are the same.
    return stated.model_copy(update={"notice": " ".join(dict.fromkeys((synthetic.notice, stated.notice))).strip()})


def read_publisher(path: Path) -> Publisher:
    """Return the publisher described by a YAML file. Raises `InvalidPublisher`."""
    return read_settings(path, Publisher, InvalidPublisher)


TITLE = "School readiness: linked early-years statistics"
# A number has no leading zero: otherwise 2026.11.00 would be a second name of 2026.11.0.
_VERSION = re.compile(r"([0-9]{4})\.(0[1-9]|1[0-2])\.(0|[1-9][0-9]{0,3})")
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
    def parse(cls, text: str) -> "Version":
        """Read a version. Raises `InvalidVersion`."""
        match = _VERSION.fullmatch(text)
        if not match:
            raise InvalidVersion(f"{text!r} is not a release version: write year.month.number as 2026.11.0")
        return cls(*map(int, match.groups()))

    @staticmethod
    def is_valid(text: str) -> bool:
        """Return whether the text is a version."""
        return bool(_VERSION.fullmatch(text))

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
    withheld_missed_links: float = 1.0
    """Share of the links to a service that must be missed for linked figures not to be shown; 1 for never."""


@dataclass(frozen=True, kw_only=True)
class StatedFacts:
    """Facts that a release states about itself, published or not.

    - `published_on`: the announced day, else the day it was made, as '2026-11-26'.
    - `cohorts`: codes such as '202425'; `councils`: folder names.
    - `publisher` and `notice`: as in `Publisher`.
    - `privacy_record`: JSON-ready, with the keys that `bundle.checks` requires.
    - `missing`: by cohort and source, the participating councils that had not sent it when the cohort was measured.
    - `on_request`: the requested tables.
    """

    version: str
    published_on: str
    publisher: str
    notice: str = ""
    cohorts: tuple[str, ...]
    councils: tuple[str, ...]
    privacy_record: dict[str, Any]
    missing: geography.MissingByCohort = field(default_factory=dict)
    on_request: OnRequest = field(default_factory=OnRequest)

    @property
    def measured_in(self) -> dict[str, str]:
        """By cohort, the release that its noisy counts were drawn for: this one or an earlier one."""
        return {cohort: entry["measured_in"] for cohort, entry in index_cohort_entries(self.privacy_record).items()}

    @property
    def epsilon(self) -> dict[str, float]:
        """By cohort, the epsilon of a child for all tables together."""
        stated = index_cohort_entries(self.privacy_record)
        return {cohort: entry["privacy_parameters"]["epsilon"] for cohort, entry in stated.items()}

    def find_sharpened(self, other: "StatedFacts") -> frozenset[str]:
        """Return the cohorts in which both releases share noisy counts and one of them has further ones."""
        found = set()
        for cohort, origin in other.measured_in.items():
            own, others = (
                {each for each in release.on_request.noisy_counts if each.cohort == cohort} for release in (self, other)
            )
            # If one has all counts of the other, the variance of a change is the difference of both variances.
            if self.measured_in.get(cohort) == origin and (own < others or own > others):
                found.add(cohort)
        return frozenset(found)


@dataclass(frozen=True, kw_only=True)
class ReleaseFacts(StatedFacts):
    """Everything in a bundle that is not a table, a definition or public reference data.

    - `privacy_page`: the privacy record as Markdown.
    - `noisy_counts`: by cohort and family, the source of every figure; `noise_covariance`: the covariances of their
      noise.
    - `contact`, `address`, `organisation`, `status` and `doi`: as in `Publisher`.
    - `was_announced`: whether the day of publication was announced.

    Nothing is read from the clock or the machine: the bytes of a bundle depend only on these facts and its tables.
    Raises `InvalidVersion`.
    """

    privacy_page: str
    noisy_counts: NoisyByCohort
    contact: str
    address: str
    organisation: str
    status: str
    thresholds: Thresholds
    doi: str = ""
    was_announced: bool = False
    noise_covariance: pa.Table = field(default_factory=COVARIANCE_SCHEMA.empty_table)

    def __post_init__(self) -> None:
        Version.parse(self.version)
        # Every cohort gets an entry, in a fixed order, because the entries are written into the bundle.
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
    def folder_address(self) -> str:
        """URL of the bundle's folder, without a final slash."""
        return f"{self.address}/{self.version}"

    @property
    def areas(self) -> tuple[geography.Geography, ...]:
        """The areas that the tables have rows for."""
        return geography.list_geographies(self.councils)


DATAPACKAGE_FILE = "datapackage.json"
PRIVACY_RECORD_FILE = "privacy_statement.json"
WITHDRAWN_FILE = "withdrawn.json"
SITE_FOLDER = "site"
"""The release page: the only folder in a bundle, and copied beside the bundles."""
QUOTES_FILE = "quotes.json"
"""The sentences of the page that may be quoted, by code of the area, in the folder of the page."""


class UnreadableWithdrawals(Exception):
    """The file does not have the form that `record_withdrawals` writes; the message names it."""


@dataclass(frozen=True)
class Withdrawal:
    """A withdrawn release: its version, the day (2026-11-25) and the reason, one line of text."""

    version: str
    date: str
    reason: str

    @property
    def sentence(self) -> str:
        """The sentence shown to readers, with a full stop."""
        return f"Release {self.version} was withdrawn on {self.date}: {end_sentence(self.reason)}"


def load_withdrawals(release_dir: Path) -> dict[str, Withdrawal]:
    """Return every withdrawal by version; empty if there is no file. Raises `UnreadableWithdrawals`."""
    path = release_dir / WITHDRAWN_FILE
    return read_withdrawals(path.read_bytes(), str(path)) if path.exists() else {}


def read_withdrawals(content: bytes, name: str) -> dict[str, Withdrawal]:
    """Return the withdrawals in `content`, by version; `name` is used in errors. Raises `UnreadableWithdrawals`."""
    try:
        found = [Withdrawal(**entry) for entry in json.loads(content)["withdrawn"]]
        for each in found:
            Version.parse(each.version)
            dt.date.fromisoformat(each.date)
            if not is_line(each.reason):
                raise ValueError
    except (ValueError, TypeError, KeyError):
        raise UnreadableWithdrawals(
            f"{name} must list, under 'withdrawn', objects with version, date (2026-11-25) and reason, and nothing else"
        ) from None
    return {each.version: each for each in found}


def record_withdrawals(release_dir: Path, known: Mapping[str, Withdrawal], *added: Withdrawal) -> None:
    """Write the file with the known and the added withdrawals."""
    # By version, so that the same withdrawals give the same bytes in whatever order they were made.
    every = sorted([*known.values(), *added], key=lambda each: Version.parse(each.version))
    content = {"withdrawn": [asdict(each) for each in every]}
    write_whole(release_dir / WITHDRAWN_FILE, format_json(content))


def list_versions(release_dir: Path) -> list[Version]:
    """Return the versions that have a bundle in `release_dir`, oldest first."""
    # Temporary folders, `site` and `synthetic_children` are in the same folder as the bundles.
    found = (path.name for path in (release_dir.iterdir() if release_dir.is_dir() else ()) if path.is_dir())
    return sorted(Version.parse(name) for name in found if Version.is_valid(name))


def list_not_withdrawn(release_dir: Path) -> list[Version]:
    """Return the versions that have a bundle and are not withdrawn, oldest first. Raises `UnreadableWithdrawals`."""
    withdrawn = load_withdrawals(release_dir)
    return [version for version in list_versions(release_dir) if str(version) not in withdrawn]


def explain_absence(release_dir: Path, version: str) -> str:
    """Return that `release_dir` has no release of this version, and which it has; empty if it has it."""
    found = [str(each) for each in list_versions(release_dir)]
    if version in found:
        return ""
    return f"there is no release {version} in {release_dir}: {', '.join(found) or 'it has none'}"


@dataclass(frozen=True, kw_only=True)
class PublishedRelease(StatedFacts):
    """A release as it was published: its record, its Parquet files and its withdrawal, if any.

    `address` is the URL of its folder. `read` returns the given columns of a file, or all if None; it returns None if
    the release has no such file.
    """

    address: str
    read: Callable[[str, Sequence[str] | None], pa.Table | None]
    withdrawal: Withdrawal | None = None

    @property
    def citation(self) -> str:
        """How to cite it, in sentences."""
        published = f"{TITLE}. Release {self.version}, published on {format_day(self.published_on)}"
        return f"{self.publisher} ({self.published_on[:4]}). {published}. {self.address}"

    @property
    def requested(self) -> tuple[RequestedTable, ...]:
        """Its tables on request."""
        return self.on_request.tables

    @cached_property
    def tables(self) -> dict[str, pa.Table]:
        """The rows of its tables, by name; a bundle of another schema may lack a table."""
        found = {name: self.read(f"{name}.parquet", None) for name in merge_tables(self.requested)}
        return {name: data for name, data in found.items() if data is not None}


def read_bundle_facts(bundle: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a bundle's `datapackage.json` and its privacy record. Raises the errors of reading the files."""
    package, record = (json.loads((bundle / name).read_bytes()) for name in (DATAPACKAGE_FILE, PRIVACY_RECORD_FILE))
    return package, record


def read_release(bundle: Path, withdrawal: Withdrawal | None = None) -> PublishedRelease:
    """Read the release in a bundle's folder. Raises the errors of reading its files."""
    package, record = read_bundle_facts(bundle)

    def read(file: str, wanted: Sequence[str] | None) -> pa.Table | None:
        path = bundle / file
        if not path.is_file():
            return None
        with pq.ParquetFile(path) as opened:
            # An older release may lack a column that its table has today.
            there = None if wanted is None else [name for name in opened.schema_arrow.names if name in wanted]
            return opened.read(columns=there)

    return PublishedRelease(
        version=package["version"],
        published_on=package["created"][:10],
        publisher=package["contributors"][0]["title"],
        notice=package.get("notice", ""),
        cohorts=tuple(package["cohorts"]),
        councils=tuple(package["councils"]),
        privacy_record=record,
        missing=package["missing"],
        on_request=OnRequest.read_bundle(bundle),
        address=package["homepage"],
        read=read,
        withdrawal=withdrawal,
    )


def read_releases(release_dir: Path) -> list[PublishedRelease]:
    """Read every release of a release directory, oldest first. Raises `UnreadableWithdrawals`."""
    withdrawn = load_withdrawals(release_dir)
    return [read_release(release_dir / name, withdrawn.get(name)) for name in map(str, list_versions(release_dir))]


def build_release(facts: ReleaseFacts, tables: Mapping[str, pa.Table]) -> PublishedRelease:
    """Return the release of these facts and tables, whose bundle is not written yet."""
    files = {f"{name}.parquet": data for name, data in tables.items()} | {NOISE_COVARIANCE_FILE: facts.noise_covariance}
    own = {each.name: getattr(facts, each.name) for each in fields(StatedFacts)}
    return PublishedRelease(
        **own | {"cohorts": tuple(sorted(facts.cohorts)), "councils": tuple(sorted(facts.councils))},
        address=facts.folder_address,
        read=lambda file, wanted: files[file] if wanted is None else files[file].select(wanted),
    )


@dataclass(frozen=True)
class Earlier:
    """The releases before a new one.

    `replaced` is the version that it replaces (None if it is the first), and `of` has, for each cohort, the newest
    older release with that cohort.
    """

    replaced: str | None
    of: Mapping[str, PublishedRelease]


def read_previous_releases(release_dir: Path, facts: ReleaseFacts) -> Earlier:
    """Return the releases in `release_dir` before this one."""
    replaced: str | None = None
    newest: dict[str, str] = {}
    # Oldest first, so that the newest release that fits is kept.
    for version in (str(each) for each in list_versions(release_dir) if each < Version.parse(facts.version)):
        cohorts = set(json.loads((release_dir / version / DATAPACKAGE_FILE).read_bytes())["cohorts"])
        if cohorts <= set(facts.cohorts):
            replaced = version
        newest |= dict.fromkeys(cohorts & set(facts.cohorts), version)
    read = {version: read_release(release_dir / version) for version in set(newest.values())}
    return Earlier(replaced, {cohort: read[newest[cohort]] for cohort in sorted(newest)})


def index_cohort_entries(record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the entries of a privacy record, by cohort."""
    return {entry["cohort"]: entry for entry in record["cohorts"]}
