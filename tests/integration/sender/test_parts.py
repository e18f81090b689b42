"""Parts that a sender hands over as tokens, beside parts that it sends as they are."""

from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from assets.intake import parts
from tests.support.extracts import make_upn
from tests.support.intake.desk import COHORT, Desk, build_eyfsp
from tests.support.intake.sender import Sender, put


def child(number: int, **changes: str) -> dict[str, str]:
    return {"upn": make_upn(800_000_000_000 + number), "surname": f"Name{chr(97 + number)}", **changes}


def test_parts_sent_as_tokens_give_the_same_extract(sender: Sender, place_at: Callable[[str], Desk]) -> None:
    """The second replaces a record of the first, which is handed over as tokens; two children share common names."""
    names = {"surname": "Smith", "forename": "Oliver"}
    texts = {
        "2026-01": build_eyfsp(child(1), child(2), child(3, **names), child(4, com_e01="9")),
        "2026-02": build_eyfsp(child(2, sex="M"), child(3, **names), child(5, com_e01="9")),
        "2026-03": build_eyfsp(child(6, surname="Jones", forename="Amelia"), child(1)),
    }
    ours, theirs = place_at("ours"), place_at("theirs")
    folder = sender.root / "leeds" / "eyfsp" / COHORT
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
        put(folder / f"{name}.csv", ours, f"eyfsp/{COHORT}")
    done = sender.run(folder, "--postcode-directory", str(sender.directory), out=sender.get_out())
    assert done.exit_code == 0, done.output
    put(sender.get_out() / "2026-01.tokens.parquet", theirs, f"eyfsp/{COHORT}")
    put(folder / "2026-02.csv", theirs, f"eyfsp/{COHORT}")
    put(sender.get_out() / "2026-03.tokens.parquet", theirs, f"eyfsp/{COHORT}")
    mine, other = ours.take("eyfsp"), theirs.take("eyfsp")
    assert (mine.rows_read, mine.rows_kept, mine.rules) == (other.rows_read, other.rows_kept, other.rules)
    assert (mine.rows_kept, mine.rows_rejected) == (4, 2)
    kept = ours.read_table("eyfsp")
    assert kept.equals(theirs.read_table("eyfsp"))
    assert kept["t_names"].null_count == 0


@pytest.mark.slow
def test_parts_that_are_put_in_place_at_once_all_stay(
    sender: Sender, place_at: Callable[[str], Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the first removes what no note names when the second lies there and is not noted yet."""
    place, second, first_done = place_at("one"), Event(), Event()
    promote_all, clear = parts.promote_all, parts.PartStore.clear

    def promoting(moves: list[tuple[Path, Path]]) -> None:
        promote_all(moves)
        if any(moved.name.startswith("2-") for _, moved in moves):
            second.set()
            first_done.wait(1)

    def clearing(store: parts.PartStore) -> None:
        second.wait(1)
        clear(store)
        first_done.set()

    monkeypatch.setattr(parts, "promote_all", promoting)
    monkeypatch.setattr(parts.PartStore, "clear", clearing)
    folder = sender.root / "leeds" / "eyfsp" / COHORT
    folder.mkdir(parents=True)
    for number in (1, 2):
        (folder / f"2026-0{number}.csv").write_text(build_eyfsp(child(number)), encoding="utf-8")
    done = sender.run(folder, "--postcode-directory", str(sender.directory), out=sender.get_out())
    assert done.exit_code == 0, done.output
    for number in (1, 2):
        put(sender.get_out() / f"2026-0{number}.tokens.parquet", place, f"eyfsp/{COHORT}")
    assert place.take("eyfsp").rows_kept == 2


def test_a_part_alone_is_called_after_its_file(sender: Sender) -> None:
    folder = sender.root / "leeds" / "eyfsp" / COHORT
    folder.mkdir(parents=True)
    (folder / "May.csv").write_text(build_eyfsp(child(1)), encoding="utf-8")
    done = sender.run(folder / "May.csv", out=sender.get_out())
    assert done.exit_code == 0, done.output
    assert (sender.get_out() / "May.tokens.parquet").exists()
