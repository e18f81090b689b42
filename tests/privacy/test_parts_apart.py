"""Stored parts keep tokens, payload and marks separate, and marks match nothing outside one council's source."""

import pyarrow.parquet as pq
import pytest

from assets.home.paths import Home
from assets.intake.ingest import Intake
from assets.intake.parts import PartStore
from assets.linkage.tokens import open_tokens
from privacy.doors import sealed
from privacy.keys import KeyRing
from privacy.pseudonyms import MARK_COLUMNS, TOKEN_COLUMNS
from privacy.row_keys import ROW_KEY
from sources.extract.landing import find
from tests.support.extracts import COHORT, Row, build_row, format_rows, make_nhs_number, make_upn

COMMON = ("Smith", "Oliver")
PLACES = (("leeds", "eyfsp"), ("leeds", "school_census"), ("wirral", "eyfsp"), ("leeds", "hv_reviews"))


def child(source: str, council: str, number: int, names: tuple[str, str] | None = None) -> Row:
    surname, forename = names or (f"Quill{chr(97 + number)}", f"Ottoline{chr(97 + number)}")
    values = {"upn": make_upn(800_000_000_000 + number), "nhs_number": str(make_nhs_number(11 * number + 1))}
    values |= {"surname": surname, "forename": forename, "la_code": {"leeds": "383", "wirral": "344"}[council]}
    born = {"date_of_birth": f"2020-03-{number + 1:02d}"}
    return build_row(source, {name: value for name, value in values.items() if name in build_row(source)}, born)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, KeyRing]:
    """Return a home in two parts with the same children, of whom two, one in each part, have the same common names."""
    root = tmp_path_factory.mktemp("apart")
    keys, landing, home = KeyRing.create(root / "keys"), root / "landing", Home(root / "home")
    for council, source in PLACES:
        folder = landing / council / source / COHORT
        folder.mkdir(parents=True)
        first = [child(source, council, number) for number in range(1, 6)] + [child(source, council, 6, COMMON)]
        second = [child(source, council, 7), child(source, council, 8, COMMON), child(source, council, 1)]
        (folder / "2026-01.csv").write_text(format_rows(first))
        (folder / "2026-02.csv").write_text(format_rows(second))
        Intake(landing, home, keys).ingest(find(landing, council, source, COHORT))
    return home, keys


def test_nobody_but_the_intake_reads_a_mark_and_nobody_but_the_linkage_a_token(place: tuple[Home, KeyRing]) -> None:
    home, keys = place
    for council, source in PLACES:
        key = (source, COHORT, council)
        for stem in {part.kept_in for part in PartStore(home.get_extract(*key)).list_kept()}:
            kept = PartStore(home.get_extract(*key)).get_files(stem)
            assert not {*pq.read_schema(kept.payload).names} & {*TOKEN_COLUMNS, *MARK_COLUMNS, "source_row"}
            marks = sealed.open_sealed(kept.marks, keys.get_private_key("intake"))
            assert {*marks.schema_arrow.names} <= {*MARK_COLUMNS, ROW_KEY, "state"}
            for path, other in (
                (kept.marks, "tokens"),
                (kept.tokens, "intake"),
                (home.get_extract(*key).tokens, "intake"),
            ):
                with pytest.raises(OSError, match="no decryption found"):
                    pq.read_table(path)
                with pytest.raises(sealed.NotForThisKey):
                    sealed.open_sealed(path, keys.get_private_key(other))
                assert not [name for name in (*TOKEN_COLUMNS, *MARK_COLUMNS) if name.encode() in path.read_bytes()]


def test_marks_join_no_rows_of_two_services_sources_or_councils(place: tuple[Home, KeyRing]) -> None:
    home, keys = place
    seen: dict[tuple[str, str], set[int]] = {}
    for council, source in PLACES:
        key = (source, COHORT, council)
        marks = (
            PartStore(home.get_extract(*key)).read_marks(keys, PartStore(home.get_extract(*key)).list_kept()).values()
        )
        values = (table[name].to_pylist() for table in marks for name in ("record", "content"))
        seen[council, source] = {value for column in values for value in column if value is not None}
        assert len(seen[council, source]) > 10
    for one in PLACES:
        for other in PLACES:
            assert one == other or not seen[one] & seen[other]


def test_common_names_that_two_children_bear_have_no_token_of_both(place: tuple[Home, KeyRing]) -> None:
    """Neither in the tokens of a part, in which each is the only one, nor in those that are linked."""
    home, keys = place
    for council, source in PLACES:
        key = (source, COHORT, council)
        for stem in {part.kept_in for part in PartStore(home.get_extract(*key)).list_kept()}:
            rows = sealed.open_sealed(
                PartStore(home.get_extract(*key)).get_files(stem).tokens, keys.get_private_key("tokens")
            ).read()
            assert rows["t_names"].null_count == 2
        linked = open_tokens(home.get_extract(*key), keys).read()
        assert (len(linked), linked["t_names"].null_count) == (8, 2)
