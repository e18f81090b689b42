"""Reading of council files: every mistake in a file is reported at once.

Every value is read as text, so `No`, `0383` and `1` stay as written. docs/council-files.md documents every key.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import pydantic
from pydantic import AfterValidator, ValidationInfo, field_validator, model_validator

from privacy.doors.environment import get_settings
from privacy.doors.settings_file import Faults, Problem, Settings, Text, read_settings, sort_problems, suggest_names
from sources.contracts import CONTRACTS, Column, Kind, Role, SourceContract
from sources.contracts.sources import HV_REVIEWS
from sources.councils.dialect import CONTRACT_DIALECT, Dialect, Parts, is_date
from sources.errors import ExtractStopped
from sources.reference.code_lists import REVIEW_CODES
from sources.reference.places import Place, UnknownCouncil, get_place, load_places, resolve

SHIPPED = Path(__file__).parent


class InvalidCouncilFile(ExtractStopped):
    """A council file is invalid; extracts that need it are not accepted. `problems` lists every mistake."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sort_problems(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True)
class CouncilFile:
    """A council and its dialect for each source it sends."""

    council: str
    sources: Mapping[str, Dialect] = field(default_factory=dict)

    @property
    def reviews(self) -> tuple[str, ...] | None:
        """Codes of the reviews that its health visitors send; None if it does not say."""
        return self.get_dialect(HV_REVIEWS.name).reviews

    def get_dialect(self, source: str) -> Dialect:
        return self.sources.get(source, CONTRACT_DIALECT)


def load_council_file(council: str) -> CouncilFile:
    """Return a council's dialects (contract form without a file). Raises `UnknownCouncil` and `InvalidCouncilFile`."""
    get_place(council)
    # `get_place` has refused any other text, so the name is safe as part of a path.
    for folder in (*_find_operators_folder(council), SHIPPED):
        path = folder / f"{council}.yaml"
        if path.is_file():
            status = path.stat()
            return _load_once(path, status.st_mtime_ns, status.st_size)
    return CouncilFile(council)


@lru_cache(maxsize=512)
def _load_once(path: Path, mtime_ns: int, size: int) -> CouncilFile:
    """Call `read_council_file`, but only if the file has changed; the arguments are the cache key."""
    return read_council_file(path)


def _find_operators_folder(council: str) -> tuple[Path, ...]:
    """Return the installation's folder of council files, if any, which takes precedence over the shipped ones.

    Raises `InvalidCouncilFile` if it holds a file of this council under a misspelt name.
    """
    folder = get_settings().councils
    if folder is None:
        return ()
    # Otherwise `Leeds.yaml` or `leeds.yml` would be silently ignored, and the shipped file or contract form used.
    for path in folder.iterdir():
        stem, ending = path.stem.lower(), path.suffix.lower()
        if ending in (".yaml", ".yml") and stem == council and path.name != f"{council}.yaml":
            raise InvalidCouncilFile([Problem(path.name, 1, 1, f"the file must be called {council}.yaml")])
    return (folder,)


def read_council_file(path: Path) -> CouncilFile:
    """Read and check one council file; raises `InvalidCouncilFile` with every mistake in it."""
    problems: list[Problem] = []
    if path.stem not in load_places():
        try:
            rename = f"; call it {resolve(path.stem).council}.yaml"
        except UnknownCouncil:
            rename = suggest_names(path.stem, tuple(load_places()))
        sentence = f"the file must be called after an English authority, as leeds.yaml{rename}"
        problems.append(Problem(path.name, 1, 1, sentence))
    read = read_settings(
        path, _File, lambda found: InvalidCouncilFile([*problems, *found]), context=load_places().get(path.stem)
    )
    if problems:
        raise InvalidCouncilFile(problems)
    listed = {name: getattr(read.sources, name) for name in CONTRACTS}
    # As plain dialects, which the reader processes can load without this module.
    return CouncilFile(path.stem, {name: Dialect.model_construct(**dict(own)) for name, own in listed.items() if own})


def _check_council(name: str, info: ValidationInfo) -> str:
    council = resolve(name).council
    if info.context and council != info.context.council:
        raise ValueError(f"is {council!r} and the file is called {info.context.council}.yaml; make them the same")
    return council


class _Source(Dialect):
    """A council's settings for one source, checked against the source's contract."""

    contract: ClassVar[SourceContract]

    @field_validator("date_formats", "columns", "codes", "constants", "derived", mode="wrap")
    @classmethod
    def _check_columns(cls, content: Any, handler: pydantic.ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        if not isinstance(content, dict):
            raise ValueError("must be a mapping of contract columns")
        names = tuple(column.name for column in cls.contract.columns)
        dates = [column.name for column in cls.contract.columns if column.kind is Kind.DATE]
        others = set(names) - set(dates) if info.field_name == "date_formats" else set()
        with Faults() as faults:
            for name in content.keys() & others:
                faults.add((name,), f"the column is no date; dates are {', '.join(dates)}")
            for name in content.keys() - set(names):
                sentence = f"{name!r} is not a column of {cls.contract.name}{suggest_names(name, names)}"
                faults.add((name,), sentence, key=True)
            # Known columns are checked all the same, so that every mistake is reported at once.
            return handler({name: value for name, value in content.items() if name in names})

    @field_validator("codes")
    @classmethod
    def _is_satisfiable(cls, codes: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        with Faults() as faults:
            for name, mapping in ((name, mapping) for name, mapping in codes.items() if mapping):
                column, seen = cls.contract[name], dict[str, str]()
                for value, code in mapping.items():
                    faults.add((name, value), _find_value_fault(column, value.strip(), seen), key=True)
                    faults.add((name, value), _find_code_fault(column, code.strip()))
                    seen.setdefault(value.strip().lower(), value.strip())
                found[name] = {value.strip(): code.strip() for value, code in mapping.items()}
        return found

    @field_validator("reviews")
    @classmethod
    def _check_reviews(cls, reviews: tuple[str, ...]) -> tuple[str, ...]:
        if cls.contract.name != HV_REVIEWS.name:
            raise ValueError(f"goes with {HV_REVIEWS.name} alone")
        with Faults() as faults:
            for place, code in enumerate(reviews):
                if code not in REVIEW_CODES:
                    faults.add(
                        (place,), f"{code!r} is not a code of the contract{suggest_names(code, tuple(REVIEW_CODES))}"
                    )
        return reviews

    @field_validator("constants")
    @classmethod
    def _can_be_constant(cls, constants: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        # pydantic validates in order of declaration: codes and date formats are here already, unless they were invalid.
        codes, own = info.data.get("codes", {}), info.data.get("date_formats", {})
        formats = info.data.get("date_format", CONTRACT_DIALECT.date_format)
        with Faults() as faults:
            for name, value in constants.items():
                allowed = codes.get(name, {}), own.get(name, formats)
                faults.add((name,), _find_constant_fault(cls.contract[name], value, *allowed, info.context))
        return constants

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        is_given = "deleted" in self.model_fields_set
        with Faults() as faults:
            self._check_origins(faults)
            self._check_headings(faults)
            if self.parts == Parts.CHANGES and not is_given:
                faults.add(
                    ("parts",),
                    "changes need 'deleted': {Heading: value}, the column and value that delete a record; where none"
                    " does, write incremental",
                )
            if is_given and len(self.deleted) != 1:
                faults.add(("deleted",), "must name one column, as {Record status: D}")
            if is_given and self.parts != Parts.CHANGES:
                faults.add(("deleted",), "goes with 'parts: changes' alone")
        return self

    def _check_origins(self, faults: Faults) -> None:
        """Report contract columns that are under more than one of `columns`, `constants` and `derived`."""
        seen: dict[str, str] = {}
        for kind in ("columns", "constants", "derived"):
            for name in getattr(self, kind):
                if (first := seen.setdefault(name, kind)) != kind:
                    faults.add((kind, name), f"{name} is under {first} too; keep one", key=True)

    def _check_headings(self, faults: Faults) -> None:
        """Report headings that are mapped to two contract columns; one of the two must be derived instead."""
        names = {column.name for column in self.contract.columns}
        seen: dict[str, str] = {}
        for name, heading in self.columns.items():
            folded = " ".join(heading.lower().split())
            if (first := seen.setdefault(folded, name)) != name:
                faults.add(
                    ("columns", name),
                    f"{heading!r} is mapped to {first} and to {name}; keep one, or make the second under 'derived'",
                )
            elif folded in names and folded != name and folded not in self.columns:
                faults.add(
                    ("columns", name),
                    f"{heading!r} is the contract's name of another column, which would be read from it too; map"
                    f" {folded} as well",
                )


# A class for each source, because its validators need the contract of that source.
_Sources: type[Settings] = pydantic.create_model(  # type: ignore[call-overload]
    "_Sources",
    __base__=Settings,
    **{
        name: (type(f"_Source_{name}", (_Source,), {"contract": contract, "__module__": __name__}) | None, None)
        for name, contract in CONTRACTS.items()
    },
)


class _File(Settings):
    council: Annotated[Text, AfterValidator(_check_council)]
    sources: _Sources  # type: ignore[valid-type]


def _find_value_fault(column: Column, value: str, seen: Mapping[str, str]) -> str | None:
    """Return why a value of a code map can never match, or None."""
    if not value:
        return "a blank value needs no code"
    if value.lower() in seen:
        return f"{value!r} and {seen[value.lower()]!r} are the same value; letter case makes no difference"
    # Spreadsheets write 2 as 2.0, so the reader drops the .0 of whole numbers before it looks up codes.
    if column.kind is Kind.CODE and re.fullmatch(r"\d+\.0+", value):
        return f"{value!r} is never met: whole numbers lose their .0; write {value.partition('.')[0]!r}"
    return None


def _find_code_fault(column: Column, code: str) -> str | None:
    if not code:
        return None
    if column.kind is Kind.CODE:
        accepted = tuple(column.codes or ())
        return (
            None
            if column.find_code(code) is not None
            else f"{code!r} is not a code of the contract{suggest_names(code, accepted)}"
        )
    if column.role is Role.IDENTIFIER or column.kind is not Kind.TEXT:
        return f"{column.name} has no codes; a value can only be mapped to '', which makes it blank"
    return None


def _find_constant_fault(
    column: Column, value: str, codes: Mapping[str, str], formats: tuple[str, ...], council: Place | None
) -> str | None:
    if column.role is Role.IDENTIFIER:
        return "an identifier is not the same in every row"
    if column.name == "la_code" and council and value not in (council.old_la_code, council.new_la_code):
        return f"{value!r} is not {council.la_name}'s code; it is {council.old_la_code} or {council.new_la_code}"
    match column.kind:
        case Kind.CODE:
            accepted = {**(column.codes or {}), **codes}
            known = value.lower() in {code.lower() for code in accepted}
            if not known and column.find_code(value) is None:
                return f"{value!r} is not a code of the contract{suggest_names(value, tuple(accepted))}"
        case Kind.DATE if not is_date(value, formats):
            return f"{value!r} is not a date written {' or '.join(formats)}, or 2024-02-29"
        case Kind.INTEGER | Kind.DECIMAL if not _is_number(column, value):
            return f"{value!r} is not a number that {column.name} may have"
    return None


def _is_number(column: Column, value: str) -> bool:
    try:
        number = float(value)
    except ValueError:
        return False
    low = column.minimum if column.minimum is not None else number
    high = column.maximum if column.maximum is not None else number
    return low <= number <= high and (column.kind is Kind.DECIMAL or number.is_integer())
