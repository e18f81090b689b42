"""The rules that hold a release: what is wrong or missing in the deliveries that it would be measured from.

The rules and their bounds are in `sources.contracts.extract_rules`. Rules about one extract are applied at intake;
those that compare extracts are applied here.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from statistics import median
from typing import Self

from assets.home.paths import CohortStore, Home
from assets.home.processing_log import Key, LogEntry, Processing, list_intakes
from assets.home.signers import is_demonstration
from assets.intake import deliveries
from assets.intake.deliveries import ExtractQuality
from assets.linkage.arrivals import read_landing_seen
from assets.linkage.inputs import PROFILE, LinkageRecord, read_complete_record, read_stated_reviews
from assets.linkage.population_overlap import Overlap, is_replacement, read_overlaps
from privacy.doors import clock
from privacy.doors.counts import describe_row_share, describe_rows, describe_share
from privacy.release.canonical import hash_json
from privacy.services import SERVICES
from sources.contracts import CONTRACTS, extract_rules as rules
from sources.contracts.people import OF_MANY
from sources.contracts.sources import HV_REVIEWS
from sources.reference.code_lists import REVIEW_CODES
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place
from sources.reference.published_figures import SOURCES_OF_CHILDREN
from sources.reference.source_titles import SOURCE_TITLES


@dataclass(frozen=True)
class Hold:
    """A hold on a release: its title, and what is wrong, both in bands and in the sender's own numbers.

    `name` is `council/source/rule`, or a council or landing folder and the rule; `about` identifies what is held, such
    as a hash of the delivery and the rules it breaks.
    """

    cohort: str
    name: str
    about: str
    title: str
    what: str
    in_numbers: str = ""

    @property
    def signed(self) -> dict[str, str]:
        """The content that a person signs to accept it."""
        return {"cohort": self.cohort, "name": self.name, "about": self.about}

    @property
    def sentence(self) -> str:
        """The hold with counts in bands, for logs and consoles."""
        return self._add_title(self.what)

    @property
    def numbers(self) -> str:
        """The hold with the sender's own numbers, for the decision sheet."""
        return self._add_title(self.in_numbers or self.what)

    def _add_title(self, what: str) -> str:
        return f"{self.title}: {what}" if self.title else what

    @property
    def cause(self) -> str:
        """The rule, which several councils may break."""
        return self.name.rpartition("/")[2]

    @property
    def council(self) -> str:
        return self.name.partition("/")[0]

    @property
    def source(self) -> str:
        """The source; empty if the hold is not about one source."""
        return self.name.partition("/")[2].rpartition("/")[0]


def iter_holds(store: CohortStore) -> Iterator[Hold]:
    """Yield the holds on a cohort, accepted or not: one per problem, and one for whatever cannot be judged."""
    delivered = _Deliveries.read(store)
    extracts = delivered.extracts
    trials = {source for source in SOURCES_OF_CHILDREN if delivered.is_trial(source)}
    # facts about rows first, because a held extract is not used to judge the others
    rows_of = {key: list(_find_row_facts(quality, trials)) for key, quality in extracts.items()}
    for key, quality in extracts.items():
        rows_of[key] += _compare_with_census(quality, extracts, rows_of)
    per_child = {source: _compute_rows_per_child(source, extracts, rows_of) for source in rules.OF_OTHERS}
    made, compared = delivered.linked.extracts, read_overlaps(store)
    for (source, council), quality in extracts.items():
        extract = made.get(f"{council}/{source}")
        of_delivery = partial(_merge_facts, quality, extract.sha256 if extract else "")
        of_rows = [*rows_of[source, council], *_compare_with_others(quality, per_child.get(source, {}))]
        shared = _find_shared_fraction(store.home, quality, compared)
        superseded = any(store.home.get_extract(*quality.key).history.glob("*.json"))
        # the log knows an earlier delivery whose result is gone: deleting a file must not remove a hold
        has_lost_last = (
            quality.rows_last is None and not superseded and is_replacement(store.home, quality.key, quality.file_mac)
        )
        yield from of_delivery([_NOT_COMPARED] if shared is None or has_lost_last else [])
        yield from of_delivery([*_find_children_facts(quality, shared, of_rows), *of_rows])
        yield from of_delivery([*_find_number_facts(quality)])
        stated = read_stated_reviews(council) if source == HV_REVIEWS.name else None
        if stated is not None:
            # the statement is accepted with the delivery, so another one is a new hold
            about = hash_json([extract.sha256 if extract else "", sorted(stated)])
            yield from _merge_facts(quality, about, [*_find_review_facts(quality, stated)])
    yield from delivered.iter_not_judged()
    yield from delivered.iter_not_in()
    yield from delivered.iter_left_out()


_Fact = tuple[str, str, str]
"""A rule that an extract breaks, with the result in bands, and in the sender's own numbers."""


_NO_COMPARISON = "nobody can say how it compares with an earlier delivery"


_NOT_COMPARED: _Fact = (rules.ReleaseRule.NOT_COMPARED, _NO_COMPARISON, _NO_COMPARISON)


_Extracts = Mapping[tuple[str, str], ExtractQuality]
"""Current extracts, by source and council."""


_Facts = Mapping[tuple[str, str], Sequence[_Fact]]


def _merge_facts(quality: ExtractQuality, payload_sha256: str, facts: Sequence[_Fact]) -> Iterator[Hold]:
    """Yield one hold for all these facts, bound to the delivery, its kept and expected rows, and the broken rules."""
    if facts:
        broken, in_bands, in_numbers = zip(*facts, strict=True)
        about = hash_json([quality.file_mac, payload_sha256, quality.rows_expected, *broken])
        name, title = f"{quality.council}/{quality.source}/{broken[0]}", _format_title(quality.council, quality.source)
        yield Hold(quality.cohort, name, about, title, "; ".join(in_bands), "; ".join(in_numbers))


def _find_row_facts(quality: ExtractQuality, trials: Collection[str]) -> Iterator[_Fact]:
    """Yield facts about far fewer or far more rows than expected, or than in the last delivery."""
    kept = quality.rows_kept
    unit = "children" if quality.source in SOURCES_OF_CHILDREN else "rows"
    for rule, reference, which, when in (
        (rules.FAR_FROM_EXPECTED.id, quality.rows_expected or 0, "that are expected", "that are expected"),
        (rules.FAR_FROM_LAST.id, quality.rows_last or 0, "of the last delivery", "last time"),
    ):
        is_trial = rule == rules.FAR_FROM_EXPECTED.id and quality.source in trials
        if rule in {finding.rule for finding in quality.holds} and not is_trial:
            share = describe_share(kept / reference) if reference else "another number"
            sentence = f"{share} of the rows {which} ({describe_rows(kept)})"
            yield rule, sentence, f"{kept:,} of about {reference:,} {unit} {when}"


def _compute_rows_per_child(source: str, extracts: _Extracts, rows_of: _Facts) -> dict[str, float]:
    """Return the rows per child, by council."""
    return {
        council: quality.rows_kept / children
        for (extract_source, council), quality in extracts.items()
        if extract_source == source and (children := _find_child_count(council, extracts, rows_of))
    }


def _find_child_count(council: str, extracts: _Extracts, rows_of: _Facts) -> int | None:
    """Return a council's rows of the Profile or school census, if not held for their number, or the expected number."""
    known = [(key, extracts[key]) for source in SOURCES_OF_CHILDREN if (key := (source, council)) in extracts]
    # a Profile with too few rows would make the council's other sources look too large
    sound = (each.rows_kept for key, each in known if not rows_of[key])
    expected = (each.rows_expected for _, each in known if each.rows_expected)
    return next(chain(sound, expected), None)


def _compare_with_others(quality: ExtractQuality, per_child: Mapping[str, float]) -> Iterator[_Fact]:
    own, others = per_child.get(quality.council), [each for at, each in per_child.items() if at != quality.council]
    if own is None or len(others) < rules.OTHER_COUNCILS:
        return
    usual, (low, high) = median(others), rules.OF_OTHERS[quality.source]
    expected = round(usual * quality.rows_kept / own) if own else 0
    share = own / usual if usual else 1.0
    if expected >= rules.MANY_ROWS and not low <= share <= high:
        yield (
            rules.ReleaseRule.ROWS_OF_OTHERS,
            f"for each child {describe_share(share)} of the rows that other councils have"
            f" ({describe_rows(quality.rows_kept)})",
            f"{quality.rows_kept:,} rows; at the other councils' median for each child there would be {expected:,}",
        )


def _compare_with_census(profile: ExtractQuality, extracts: _Extracts, rows_of: _Facts) -> Iterator[_Fact]:
    """Yield a fact if a Profile without an expected number of children differs from the council's school census."""
    key = "school_census", profile.council
    if profile.source != PROFILE or profile.rows_expected or key not in extracts or rows_of[key]:
        return
    census = extracts[key]
    share = rules.compute_share(profile.rows_kept, census.rows_kept)
    if share is not None and not rules.HOLD_BELOW <= share <= rules.HOLD_ABOVE:
        yield (
            rules.ReleaseRule.FAR_FROM_CENSUS,
            f"{describe_share(share)} of the rows of the school census ({describe_rows(profile.rows_kept)})",
            f"{profile.rows_kept:,} children, and {census.rows_kept:,} in the school census",
        )


def _find_shared_fraction(home: Home, quality: ExtractQuality, compared: Mapping[str, Overlap]) -> float | None:
    """Return the share of an earlier delivery's children in an extract: 1 for the first, None if unknown."""
    # children are compared by tokens, which only linked sources have
    if quality.source not in SERVICES or not is_replacement(home, quality.key, quality.file_mac):
        return 1.0
    entry = compared.get(f"{quality.council}/{quality.source}")
    return entry.shared if entry and entry.file_mac == quality.file_mac else None


def _find_children_facts(quality: ExtractQuality, shared: float | None, of_rows: Sequence[_Fact]) -> Iterator[_Fact]:
    """Yield a fact if the children differ from an earlier delivery's by more than missing rows explain."""
    known = [reference for reference in (quality.rows_expected, quality.rows_last) if reference]
    fewer = min([1.0, *(quality.rows_kept / reference for reference in known)]) if of_rows else 1.0
    if shared is not None and shared < rules.MIN_SHARED_CHILDREN * fewer:
        few = describe_row_share(round(100 * shared), 100).replace("rows", "children")
        yield (
            rules.ReleaseRule.OTHER_CHILDREN,
            f"{few} of an earlier delivery are in it",
            f"{shared:.0%} of the children of an earlier delivery are in it (estimated from a sample of tokens)",
        )


def _find_number_facts(quality: ExtractQuality) -> Iterator[_Fact]:
    """Yield a fact if too many rows have a number shared by many children."""
    if rules.NUMBER_OF_MANY.id in {finding.rule for finding in quality.holds}:
        counted = [count for count in quality.rules if count.rule in {rule.id for rule in OF_MANY.values()}]
        worst = max(counted, key=lambda count: count.rows)
        words = f"have a {worst.columns[0]} that many children share"
        in_bands = f"{describe_row_share(worst.rows, quality.rows_read)} {words}"
        yield rules.NUMBER_OF_MANY.id, in_bands, f"{worst.rows:,} of {quality.rows_read:,} rows {words}"


def _find_review_facts(quality: ExtractQuality, stated: Collection[str]) -> Iterator[_Fact]:
    """Yield a fact if a delivery has other reviews than the council file says: those with the `stated` codes."""
    rows = quality.profile.columns["review"].groups if "review" in quality.profile.columns else {}
    most = max(rows.values(), default=0)
    if most < rules.MANY_REVIEWS:
        return
    found: dict[str, list[str]] = {}
    for code, title in REVIEW_CODES.items():
        if (code in stated) != (rows[code] >= rules.HARDLY_ANY * most):
            found.setdefault("none or hardly any" if code in stated else "many", []).append(f"“{title}”")
    if found:
        which = " and ".join(f"{number} of {', '.join(titles)}" for number, titles in found.items())
        what = (
            f"it has {which}, and the council file says otherwise: correct 'reviews' there, or have the right file sent"
        )
        yield rules.ReleaseRule.OTHER_REVIEWS, what, what


@dataclass(frozen=True)
class _Deliveries:
    """Deliveries for a cohort: current extracts, inputs of its tables and its log lines, each read once."""

    home: Home
    cohort: str
    extracts: _Extracts
    linked: LinkageRecord
    log: Mapping[Key, Sequence[LogEntry]]

    @classmethod
    def read(cls, store: CohortStore) -> Self:
        """Read what was delivered for a cohort. Raises `NotLinked` and `LogBroken`."""
        linked = read_complete_record(store)
        extracts = {
            (source, council): quality
            for source in CONTRACTS
            for council in linked.taking_part
            if (quality := deliveries.read(store.get_extract(source, council).quality))
        }
        return cls(store.home, store.cohort, extracts, linked, list_intakes(store.home))

    def _list_lines(self, source: str, council: str, cohort: str = "") -> Sequence[LogEntry]:
        return self.log.get((source, cohort or self.cohort, council), ())

    def _was_taken(self, source: str, council: str, cohort: str = "") -> bool:
        return any(line.what == Processing.INTAKE for line in self._list_lines(source, council, cohort))

    def is_trial(self, source: str) -> bool:
        """Return whether this is a demonstration in which all extracts of the source are far smaller than expected."""
        own = (each for (extract_source, _), each in self.extracts.items() if extract_source == source)
        known = [rules.compute_share(each.rows_kept, each.rows_expected) for each in own]
        # all of them must be small: a single small extract is held in a demonstration too
        small = max((share for share in known if share is not None), default=1.0) < rules.SMALL_TRIAL
        return small and is_demonstration(self.home)

    def iter_not_judged(self) -> Iterator[Hold]:
        """Yield holds for extracts in the confidential tables without an intake result or its line in the log."""
        for name, extract in self.linked.extracts.items():
            council, source = name.split("/")
            quality = self.extracts.get((source, council))
            # a result that is not in the chained log was not written by an intake
            taken = {line.file_mac for line in self._list_lines(source, council)}
            if quality is None or quality.file_mac != extract.file_mac or extract.file_mac not in taken:
                what = "the result of its intake is missing, so it cannot be judged"
                title = _format_title(council, source)
                yield Hold(self.cohort, f"{name}/{rules.ReleaseRule.NOT_JUDGED}", extract.file_mac, title, what)

    def iter_not_in(self) -> Iterator[Hold]:
        """Yield one hold per source of a council for deliveries that were not taken in or did not arrive when due."""
        seen = read_landing_seen(self.home)
        unread = dict(seen.not_read) if seen else {}
        missing = dict(self._iter_missing(seen.folders if seen else ()))
        for source in CONTRACTS:
            for council in self.linked.taking_part:
                name = f"{council}/{source}"
                rules_broken = {
                    rules.ReleaseRule.STOPPED: self._find_stopped(source, council),
                    rules.ReleaseRule.NOT_READ: unread.pop(name, None),
                    rules.ReleaseRule.MISSING: missing.get(name),
                }
                # one hold for one problem: a stopped or misnamed file is not held a second time as missing
                if found := [(rule, *facts) for rule, facts in rules_broken.items() if facts]:
                    about = " ".join(each for *_, each in found)
                    what = "; ".join(each for _, each, _ in found)
                    yield Hold(self.cohort, f"{name}/{found[0][0]}", about, _format_title(council, source), what)
        for folder, (sentence, about) in unread.items():
            yield Hold(self.cohort, f"{folder}/{rules.ReleaseRule.NOT_READ}", about, "", sentence)
        if seen is None:
            unknown = (
                "Nobody knows whether landing holds files that are not read: the record of its contents is missing."
            )
            yield Hold(self.cohort, f"landing/{rules.ReleaseRule.NOT_SEEN}", "", "", unknown)

    def _find_stopped(self, source: str, council: str) -> tuple[str, str] | None:
        """Return a description of a newer, stopped delivery and its MAC or time, from its note or else the log."""
        # the note can be deleted without a trace; the lines of the processing log are chained
        note = deliveries.read_stopped(self.home.get_extract(source, self.cohort, council))
        logged = self._list_lines(source, council)
        if note:
            day, about = note.stopped_at[:10], note.file_mac or note.stopped_at
        elif logged and logged[-1].what == Processing.STOPPED:
            day, about = logged[-1].time[:10], logged[-1].file_mac or logged[-1].time
        else:
            return None
        return f"a newer delivery was stopped on {day}, and is not in", about

    def _iter_missing(self, folders: Collection[str]) -> Iterator[tuple[str, tuple[str, str]]]:
        """Yield sources that were due, or taken in before, but are missing now, by `council/source`."""
        sent, cohort = self.linked.sent, Cohort(self.cohort)
        before = cohort.previous
        for source, contract in CONTRACTS.items():
            day, is_due = contract.get_due_day(cohort).isoformat(), contract.is_due(cohort, clock.today())
            for council in sorted(set(self.linked.taking_part) - set(sent.get(source, ()))):
                earlier = before is not None and self._was_taken(source, council, before.code)
                # a source that nobody collects is not due, or every release would wait for it
                expected = sent.get(source) or earlier or f"{council}/{source}" in folders
                if self._was_taken(source, council):
                    yield f"{council}/{source}", ("it was taken in before, and is not in", "taken in before")
                elif is_due and expected:
                    yield f"{council}/{source}", (f"it was due on {day}, and is not in", f"due {day}")

    def iter_left_out(self) -> Iterator[Hold]:
        """Yield holds for councils that sent something for the cohort but no longer take part."""
        own = (key for key in self.log if key[1] == self.cohort)
        known = {council for source, _, council in own if self._was_taken(source, council)}
        for council in sorted(known - set(self.linked.taking_part)):
            what = "its extracts were taken in, and it takes part no longer"
            name = f"{council}/{rules.ReleaseRule.LEFT_OUT}"
            yield Hold(self.cohort, name, self.cohort, get_place(council).la_name, what)


def _format_title(council: str, source: str) -> str:
    return f"{get_place(council).la_name}, {SOURCE_TITLES[source]}"
