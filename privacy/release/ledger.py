"""The budget ledger: each cohort's budget, every charge to it, and how each charge ended.

These rules are enforced here, with messages for people, and again by the storage itself:

- a cohort has one account per unit (a child or a response), because the rows of one are not rows of the other;
- an account's budget is approved once; its cap never changes;
- entries are only ever added, and each carries the hash of the one before;
- RESERVE charges one family of a release before any noise is drawn, one charge at a time, and only within the cap;
- a charge ends as COMMIT (its measurement is stored, never made again) or as VOID (anything drawn was deleted unread,
  and the family may be charged again);
- signatures are kept beside the entries, in a separate chain; `approval` decides which count.

Amounts are whole nano-rho (1e-9 rho, zCDP); charges are rounded up and caps down. Entries are kept in a `Storage`: an
SQLite file (`ledger_storage`), or a database server shared by several machines (`ledger_postgres`).
"""

import json
import secrets
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path

from privacy.doors import clock
from privacy.release import ledger_storage
from privacy.release.canonical import check_name, compute_sha256, encode_canonical_json
from privacy.release.ledger_storage import CHILD, Entry, EntryKind, LedgerError, Line, Logs, SignOffLine

NANO = 1_000_000_000

POSTGRESQL = ("postgresql://", "postgres://")
"""URL schemes of a ledger in a database server."""


class BudgetNotApproved(LedgerError):
    """A charge to a cohort without an approved budget, or a second approval with another cap."""


class BudgetExceeded(LedgerError):
    """A charge larger than the cohort's remaining budget; `requested` and `left` are in rho."""

    def __init__(self, message: str, *, requested: float, left: float) -> None:
        super().__init__(message)
        self.requested, self.left = requested, left


class ReleaseConflict(LedgerError):
    """An attempt to measure a charged family of a release again, or differently."""


class LedgerCorrupt(LedgerError):
    """Entries that were altered, removed or reordered, or a charge stated elsewhere that the ledger does not have."""


@dataclass(frozen=True)
class StatedCharge:
    """A charge as stated outside the ledger, by a stored measurement or the privacy statement of a bundle.

    `place` names that source in messages; `ledger_entry` is the hash of the RESERVE entry; `signatures` are the hashes
    of the sign-off lines under which it was measured, if stated.
    """

    place: str
    cohort: str
    release: str
    family: str
    plan_sha256: str
    ledger_entry: str
    signatures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reservation:
    """A charge: its RESERVE entry and, once it has ended, the entry that ended it."""

    entry: Entry
    end: Entry | None = None

    @property
    def rho(self) -> float:
        """Amount charged, rho (zCDP), never less than the amount asked for."""
        return self.entry.nano_rho / NANO

    @property
    def is_committed(self) -> bool:
        """True if its measurement is stored."""
        return self.end is not None and self.end.kind == EntryKind.COMMIT


@dataclass(frozen=True)
class LedgerCopy:
    """A copy of the ledger's two chains: its entries and its sign-off lines."""

    entries: list[Entry]
    sign_offs: list[SignOffLine]

    @classmethod
    def parse(cls, content: bytes) -> "LedgerCopy":
        """Read what `encode_json` wrote. Raises LedgerCorrupt if it cannot be read or a chain is broken."""
        try:
            document = json.loads(content)
            entries = [Entry(**line) for line in document["entries"]]
            sign_offs = [SignOffLine(**line) for line in document["sign_offs"]]
        except (ValueError, KeyError, TypeError):
            raise LedgerCorrupt("this copy of the ledger was not written by this version of the software") from None
        return cls(_check_chain(entries), _check_chain(sign_offs))

    def encode_json(self) -> bytes:
        """Return the copy as JSON."""
        return json.dumps(asdict(self)).encode()

    def choose_newer(self, other: "LedgerCopy") -> "LedgerCopy":
        """Return the longer of two copies of one ledger. Raises LedgerCorrupt if neither continues the other."""
        longer, shorter = sorted((self, other), key=lambda copy: (len(copy.entries), len(copy.sign_offs)), reverse=True)
        for begun, whole in ((shorter.entries, longer.entries), (shorter.sign_offs, longer.sign_offs)):
            if whole[: len(begun)] != begun:
                raise LedgerCorrupt(
                    "two ledgers differ that should be one: each has lines that the other lacks, so that one of them is"
                    " of another installation, or went on from an old copy. Nothing was changed"
                )
        return longer


class Ledger:
    """The budget ledger at a path (an SQLite file) or a `postgresql://` URL, created on first use."""

    def __init__(self, location: Path | str) -> None:
        self._storage: ledger_storage.Storage
        if isinstance(location, str) and location.startswith(POSTGRESQL):
            from privacy.release.ledger_postgres import PostgresStorage  # an optional extra installs its client library

            self._storage = PostgresStorage(location)
        else:
            self._storage = ledger_storage.SQLiteStorage(Path(location))

    def approve(self, cohort: str, cap_rho: float, note: str = "", *, unit: str = CHILD) -> Entry:
        """Set the cap of a cohort's account for one unit, once. Raises BudgetNotApproved for a different cap."""
        cap = _convert_to_nano(cap_rho, ROUND_FLOOR)
        with self._storage.begin_writing() as logs:
            entries = _check_chain(logs.read(Entry))
            approved = _find_approval(entries, cohort, unit)
            if approved is None:
                entry = Entry(0, EntryKind.APPROVE, cohort, "", "", cap, note=note, unit=unit)
                return _append(logs, entries, entry)
            if approved.nano_rho != cap:
                raise BudgetNotApproved(
                    f"for a {unit}, cohort {cohort} was approved with rho {_format_nano(approved.nano_rho)}; a cap of "
                    f"{_format_nano(cap)} is not possible, because a cohort's budget is approved once"
                )
            return approved

    def reserve(
        self,
        cohort: str,
        release: str,
        family: str,
        rho: float,
        plan_sha256: str,
        input_mac: str,
        *,
        unit: str = CHILD,
    ) -> Reservation:
        """Charge a family of a release to the account of its unit, once and within the cap; durable on return."""
        amount = _convert_to_nano(rho, ROUND_CEILING)
        with self._storage.begin_writing() as logs:
            entries = _check_chain(logs.read(Entry))
            if (cohort, release, family) in collect_charges(entries):
                raise ReleaseConflict(
                    f"{family} of release {release}, cohort {cohort}, was charged before; a family is charged once per "
                    "release. To measure it again, publish a new release."
                )
            # Checked and charged in one transaction, or two processes could both be given the last of the budget.
            _check_fits(entries, cohort, unit, f"{family} of release {release}", amount)
            charge = Entry(0, EntryKind.RESERVE, cohort, release, family, amount, plan_sha256, input_mac, unit=unit)
            return Reservation(_append(logs, entries, charge))

    def check_fits(self, cohort: str, release: str, charges: Mapping[str, float], *, unit: str = CHILD) -> None:
        """Raise BudgetExceeded or BudgetNotApproved unless a release can make all charges that it has not made yet."""
        entries = self._read_entries()
        before = collect_charges(entries)
        due = {
            family: _convert_to_nano(rho, ROUND_CEILING)
            for family, rho in charges.items()
            if (cohort, release, family) not in before
        }
        if due:
            _check_fits(entries, cohort, unit, f"release {release} ({', '.join(due)})", sum(due.values()))

    def commit(self, reservation: Reservation, measurement_sha256: str) -> Reservation:
        """End a charge as measured and stored. Raises ReleaseConflict if it has already ended."""
        return self._end(reservation, EntryKind.COMMIT, measurement_sha256=measurement_sha256)

    def void(self, reservation: Reservation, note: str) -> Reservation:
        """End a charge and give its budget back. Raises ReleaseConflict if it has already ended."""
        return self._end(reservation, EntryKind.VOID, note=note)

    def find(self, cohort: str, release: str, family: str) -> Reservation | None:
        """Return the charge of a family of a release, with any end; None if it was never made or was given back."""
        return collect_charges(self._read_entries()).get((cohort, release, family))

    def list_charges(self) -> list[Reservation]:
        """Return every charge that counts, oldest first: open charges and those spent for good."""
        return list(collect_charges(self._read_entries()).values())

    def is_measured(self, cohort: str, release: str, families: Iterable[str]) -> bool:
        """Return whether each of these families was charged and its measurement stored."""
        charges = collect_charges(self._read_entries())
        found = [charges.get((cohort, release, family)) for family in families]
        return all(charge is not None and charge.is_committed for charge in found)

    def list_charged_releases(self, cohort: str) -> set[str]:
        """Return the releases charged to a cohort."""
        return {charge.entry.release for charge in self.list_charges() if charge.entry.cohort == cohort}

    def list_charged_cohorts(self, release: str) -> set[str]:
        """Return the cohorts charged for a release; empty if the version is free."""
        return {charge.entry.cohort for charge in self.list_charges() if charge.entry.release == release}

    def list_entries(self) -> list[Entry]:
        """Return every entry, oldest first."""
        with self._storage.begin_reading() as logs:
            return logs.read(Entry)

    def _read_entries(self) -> list[Entry]:
        return _check_chain(self.list_entries())

    def get_cap(self, cohort: str, unit: str = CHILD) -> float:
        """Return the approved budget of an account, rho; 0 if none was approved."""
        approved = _find_approval(self._read_entries(), cohort, unit)
        return approved.nano_rho / NANO if approved else 0.0

    def compute_remaining(self, cohort: str, unit: str = CHILD) -> float:
        """Return the remaining budget of an account, rho; 0 if none was approved."""
        return _compute_remaining(self._read_entries(), cohort, unit) / NANO

    def get_identity(self) -> str:
        """Return this ledger's identity: the hash of its first sign-off line, which is random."""
        # In a write transaction, so that two processes cannot both write the first line.
        with self._storage.begin_writing() as logs:
            lines = _check_chain(logs.read(SignOffLine))
            made = SignOffLine(0, encode_canonical_json({"kind": "ledger", "random": _make_nonce()}).decode())
            return (lines[0] if lines else _append_line(logs, lines, made)).entry_hash

    def find_place(self) -> str:
        """Return a hash of the ledger's location, which differs for a copy and for a ledger restored elsewhere."""
        return compute_sha256(self._storage.find_place().encode())

    def sum_other_charges(self, cohort: str, release: str, unit: str = CHILD) -> int:
        """Return the nano-rho that other releases have spent for good from an account."""
        ended = (charge.entry for charge in self.list_charges() if charge.end is not None)
        of_account = (entry for entry in ended if (entry.cohort, entry.unit) == (cohort, unit))
        return sum(entry.nano_rho for entry in of_account if entry.release != release)

    def sign_offs(self) -> list[SignOffLine]:
        """Return the sign-off lines (signatures and what they allowed), oldest first. Raises LedgerCorrupt.

        Published bundles anchor the entries, and hashes in the entries anchor these lines and everyone recorded before.
        """
        both = self.copy()
        notes = [entry.note for entry in both.entries if entry.kind == EntryKind.APPROVE]
        signed = [note.removeprefix(_APPROVED_BY) for note in notes if note.startswith(_APPROVED_BY)]
        named = {line for lines in signed for line in lines.split(", ")}
        if named - {"", *(line.entry_hash for line in both.sign_offs)}:
            raise LedgerCorrupt(
                "the signatures under which a budget was approved are not in the ledger: what people signed was cut"
                " short or begun anew. Restore the newest copy of the ledger: nothing is charged or published before"
            )
        return both.sign_offs

    def add_sign_off(self, content: str) -> SignOffLine:
        """Add a sign-off line; durable on return."""
        with self._storage.begin_writing() as logs:
            return _append_line(logs, _check_chain(logs.read(SignOffLine)), SignOffLine(0, content))

    def verify_chain(self) -> None:
        """Check every hash and link. Raises LedgerCorrupt."""
        self.sign_offs()

    def check_known(self, stated: Iterable[StatedCharge]) -> None:
        """Raise LedgerCorrupt unless the ledger has each of these charges, as stated and spent for good.

        A ledger that was cut short, rebuilt or restored from an old copy lacks them and would hand out budget again.
        """
        for each in self.list_unknown(stated):
            raise LedgerCorrupt(
                f"the ledger does not have the charge that {each.place} states for {each.family} of release"
                f" {each.release}, cohort {each.cohort}, or lacks what people signed for it: this is another ledger, or"
                " an old copy. Restore the newest copy of the ledger from a backup, or set READINESS_LEDGER as before;"
                " until then nothing is charged or published"
            )

    def list_unknown(self, stated: Iterable[StatedCharge]) -> list[StatedCharge]:
        """Return the stated charges that the ledger lacks as stated: spent for good, and with their signatures."""
        signed = {line.entry_hash for line in self.sign_offs()}
        spent = (charge.entry for charge in self.list_charges() if charge.is_committed)
        here = {(each.cohort, each.release, each.family, each.plan_sha256, each.entry_hash) for each in spent}
        return [
            each
            for each in stated
            if (each.cohort, each.release, each.family, each.plan_sha256, each.ledger_entry) not in here
            or not signed.issuperset(each.signatures)
        ]

    def copy(self) -> LedgerCopy:
        """Return both chains as of one moment. Raises LedgerCorrupt."""
        with self._storage.begin_reading() as logs:
            return LedgerCopy(_check_chain(logs.read(Entry)), _check_chain(logs.read(SignOffLine)))

    def restore(self, copy: LedgerCopy) -> None:
        """Add the lines of a copy that follow those here. Raises LedgerCorrupt if neither continues the other."""
        # Called only for the error that it raises.
        copy.choose_newer(self.copy())
        with self._storage.begin_writing() as logs:
            # Lines are added as they are in the copy, because new times would give them other hashes.
            entries, sign_offs = len(logs.read(Entry)), len(logs.read(SignOffLine))
            for line in (*copy.entries[entries:], *copy.sign_offs[sign_offs:]):
                logs.append(line)

    def lock_exclusively(self) -> AbstractContextManager[None]:
        """Hold, during the `with` block, the lock that keeps every other process from measuring."""
        return self._storage.lock_exclusively()

    def _end(
        self, reservation: Reservation, kind: EntryKind, *, measurement_sha256: str = "", note: str = ""
    ) -> Reservation:
        begun = reservation.entry
        with self._storage.begin_writing() as logs:
            entries = _check_chain(logs.read(Entry))
            if begun not in entries:
                raise LedgerCorrupt(f"the ledger has no charge {begun.entry_hash}")
            known = collect_charges(entries).get(begun.key)
            if known is None or known.entry != begun or known.end is not None:
                raise ReleaseConflict(
                    f"the charge of {begun.family} of release {begun.release}, cohort {begun.cohort}, has already "
                    f"ended as {known.end.kind if known and known.end else EntryKind.VOID}"
                )
            end = replace(begun, kind=kind, measurement_sha256=measurement_sha256, note=note)
            return Reservation(begun, _append(logs, entries, end))


def _append(logs: Logs, entries: list[Entry], new: Entry) -> Entry:
    """Add an entry after checking that its names are safe in a path and a message."""
    check_name("unit", new.unit)
    for what, name in (("cohort", new.cohort), ("release", new.release), ("family", new.family)):
        # The approval of a budget has neither release nor family.
        if name or new.kind != EntryKind.APPROVE:
            check_name(what, name)
    return _append_line(logs, entries, replace(new, kind=str(new.kind)))


def _append_line(logs: Logs, lines: list[Line], new: Line) -> Line:
    """Add `new` after giving it its number, its time and the hashes of the chain."""
    unsealed = replace(
        new,
        seq=len(lines) + 1,
        recorded_at=clock.format_now(),
        previous_hash=lines[-1].entry_hash if lines else ledger_storage.GENESIS,
    )
    sealed = replace(unsealed, entry_hash=unsealed.compute_hash())
    logs.append(sealed)
    return sealed


def _check_chain(lines: list[Line]) -> list[Line]:
    """Return the lines if their chain is intact. Raises LedgerCorrupt naming the first line that breaks it."""
    previous = ledger_storage.GENESIS
    for position, line in enumerate(lines, start=1):
        if line.seq != position or line.previous_hash != previous or line.entry_hash != line.compute_hash():
            what = "entry" if isinstance(line, Entry) else "signature"
            raise LedgerCorrupt(f"{what} {position} of the ledger was altered, or one before it removed or reordered")
        previous = line.entry_hash
    return lines


def _make_nonce() -> str:
    return secrets.token_hex(16)


def format_approval_note(lines: Iterable[SignOffLine]) -> str:
    """Return the note of an entry that sets a cap: the signatures that approved it."""
    return _APPROVED_BY + ", ".join(line.entry_hash for line in lines)


_APPROVED_BY = "approved by "


def _find_approval(entries: list[Entry], cohort: str, unit: str) -> Entry | None:
    approved = (entry for entry in entries if entry.kind == EntryKind.APPROVE)
    return next((entry for entry in approved if (entry.cohort, entry.unit) == (cohort, unit)), None)


def collect_charges(entries: Iterable[Entry]) -> dict[tuple[str, str, str], Reservation]:
    """Return every charge that counts, by cohort, release and family, in order. Raises LedgerCorrupt."""
    found: dict[tuple[str, str, str], Reservation] = {}
    for entry in entries:
        key, before = entry.key, found.get(entry.key)
        if entry.kind == EntryKind.APPROVE:
            continue
        if (before is not None) if entry.kind == EntryKind.RESERVE else (before is None or before.end is not None):
            raise LedgerCorrupt(f"entry {entry.seq} of the ledger, {entry.kind}, does not follow from those before it")
        if entry.kind == EntryKind.VOID:
            # Given back, so the family may be charged again.
            del found[key]
        else:
            found[key] = Reservation(entry) if before is None else replace(before, end=entry)
    return found


def _compute_remaining(entries: list[Entry], cohort: str, unit: str) -> int:
    approved = _find_approval(entries, cohort, unit)
    charged = (charge.entry for charge in collect_charges(entries).values())
    spent = sum(entry.nano_rho for entry in charged if (entry.cohort, entry.unit) == (cohort, unit))
    return (approved.nano_rho if approved else 0) - spent


def _check_fits(entries: list[Entry], cohort: str, unit: str, what: str, amount: int) -> None:
    approved = _find_approval(entries, cohort, unit)
    if approved is None:
        raise BudgetNotApproved(
            f"cohort {cohort} has no approved budget for a {unit}; approve one before anything is measured"
        )
    left = _compute_remaining(entries, cohort, unit)
    if amount > left:
        # Sigma is proportional to 1 / sqrt(rho).
        advice = (
            # Rounded down, so that the stated share does fit.
            f"a plan of rho {_format_nano(left)} or less ({1000 * left // amount / 10:g}% of what was asked) would fit,"
            f" with noise {(amount / left) ** 0.5:.2f} times as wide"
            if left
            else f"nothing more can be released about a {unit} of this cohort"
        )
        raise BudgetExceeded(
            f"{what} would charge rho {_format_nano(amount)} for a {unit} of cohort {cohort}, which has rho "
            f"{_format_nano(left)} left of {_format_nano(approved.nano_rho)}: {advice}",
            requested=amount / NANO,
            left=left / NANO,
        )


def _convert_to_nano(rho: float, rounding: str) -> int:
    """Return rho in whole nano-rho, from the decimal it prints as. Raises ValueError unless it is positive."""
    # As it prints: the float 0.1 is a little more than a tenth, and rounding that up would charge one nano-rho more.
    amount = Decimal(repr(float(rho)))
    if not amount.is_finite() or amount <= 0:
        raise ValueError(f"rho must be positive, not {rho}")
    return int((amount * NANO).to_integral_value(rounding=rounding))


def _format_nano(nano_rho: int) -> str:
    return f"{Decimal(nano_rho) / NANO:f}"
