"""Checks an answer about a release offline. Run it as: python check_answer.py ANSWER.json [publisher.pem]

Compares figures with rows, rows with the signed hashes of the release, and the notice; lists what else the answer says,
which is not proved. Needs Python 3.10 and, for a signature, openssl 3 and the key (by default `public_key.pem` beside
it). Exits with 1 if wrong, 2 unchecked.
"""

import base64
import csv
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

NOT_CHECKED = "The signature was not checked, so anybody could have made the evidence."


def read_answer(content: bytes) -> Any:
    """Parse an answer. Raises ValueError, also if a key is there twice: a reader may see the other value."""
    return json.loads(content, object_pairs_hook=_build_object)


def _build_object(pairs: list[tuple[str, object]]) -> dict:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key is there twice")
    return dict(pairs)


def find_problems(answer: dict, is_signed: Callable[[bytes, bytes], bool] | None) -> list[str]:
    """Return the problems of an answer; `is_signed` checks sums and their signature, or is None to skip that."""
    try:
        problems: list[str] = []
        rows, notices, evidences = {}, dict[str, None](), answer.get("evidence") or []
        for evidence in evidences if isinstance(evidences, list) else [evidences]:
            hashes = json.loads(evidence["row_hashes"])
            notices |= {hashes["notice"]: None} if hashes["notice"] else {}
            problems += _check_release(evidence, hashes, is_signed)
            for row in evidence["rows"]:
                problems += _find_odd_keys(row, {"table", "row", "line", "header", "path"})
                table, place = hashes["tables"][row["table"]], (hashes["release"], row["table"], row["row"])
                if _is_proven(row, table):
                    rows[place] = next(csv.DictReader([row["header"], row["line"]])), table, hashes["flags"]
                else:
                    problems.append(f"evidence: this is not row {place[2]} of {place[1]} in {place[0]}")
        for number, figure in enumerate(answer["figures"], 1):
            found = rows.get((figure["release"], figure["table"], figure["row"]))
            wrong = _compare(figure, *found) if found else ["there is no evidence for its row"]
            problems += [f"figure {number}: {each}" for each in wrong]
        if (answer.get("notice") or "") != " ".join(notices):
            problems.append(f"its notice is not that of the release: {' '.join(notices)}")
        return problems if answer["figures"] else [*problems, "it names no figure, so there is nothing to check"]
    except Exception as error:  # whatever the file holds, it must not pass
        return [f"it does not have the form of an answer with evidence: {error!r}"]


def list_unproved(answer: object) -> list[str]:
    """Return the names of what the answer says besides figures, notice and evidence: nothing here proves it."""
    return sorted(answer.keys() - {"figures", "notice", "evidence"}) if isinstance(answer, dict) else []


def _find_odd_keys(evidence: dict, known: set[str]) -> Iterator[str]:
    if odd := evidence.keys() - known:
        yield f"evidence: {', '.join(sorted(odd))} is no evidence"


def _check_release(evidence: dict, hashes: dict, is_signed: Callable | None) -> Iterator[str]:
    yield from _find_odd_keys(evidence, {"release", "sums", "signature", "row_hashes", "rows"})
    sums, digest = evidence["sums"].encode(), hashlib.sha256(evidence["row_hashes"].encode()).hexdigest()
    if evidence["release"] != hashes["release"]:
        yield f"evidence: it says release {evidence['release']}, and its hashes are those of {hashes['release']}"
    if f"{digest}  row_hashes.json".encode() not in sums.split(b"\n"):
        yield "evidence: its row_hashes.json is not the one listed in SHA256SUMS"
    if is_signed and not is_signed(sums, base64.b64decode(evidence["signature"])):
        yield "evidence: SHA256SUMS was not signed with this key"


def _is_proven(row: dict, table: dict) -> bool:
    """Check the path from a line to the root; its sides depend on the row's number, so a proof fits one row alone."""
    index, size, sides, digest = row["row"] - 1, table["rows"], [], hashlib.sha256(b"\0" + row["line"].encode())
    is_there = 0 <= index < size and hashlib.sha256(row["header"].encode()).hexdigest() == table["header"]
    for side, text in row["path"]:
        found, other = digest.digest(), bytes.fromhex(text)
        digest = hashlib.sha256(b"\1" + (other + found if side == "left" else found + other))
    while is_there and size > 1:
        sides += ["left"] if index % 2 else ["right"] if index + 1 < size else []  # an unpaired last hash moves up
        index, size = index // 2, (size + 1) // 2
    return is_there and sides == [side for side, _ in row["path"]] and digest.hexdigest() == table["root"]


def _compare(figure: dict, row: dict, table: dict, flags: dict) -> Iterator[str]:
    name, measure = figure["measure"], table["measures"][figure["measure"]]
    value, flag, lower, upper = (row[name + part] or None for part in ("", "_flag", "_lower_ci", "_upper_ci"))
    expected = {column: row[column] for column in ("time_period", "geographic_level", "area_code", "area_name")}
    expected |= {"filters": {column: row[column] for column in table["filters"]}, "unit": measure["unit"], "flag": flag}
    expected |= {"flag_meaning": flag and flags[flag], "series_break": row["series_break"] == "b"}
    for key in figure.keys() - expected.keys() - {"release", "table", "row", "measure", "value", "lower", "upper"}:
        yield f"{key!r} is not part of a figure of the release"
    for key, right in (expected | {"value": value and float(value)}).items():
        if key not in figure or figure[key] != right:
            yield f"{key} is {figure.get(key)!r}, and {right!r} in the release"
    decimals = measure.get("decimals_by_flag", {}).get(flag, measure["decimals"])
    for key, cell in (("lower", lower), ("upper", upper)):
        stated, slack = figure.get(key), 0.5000001 / 10**decimals  # it may be rounded as the figure is
        if not (cell and abs(stated - float(cell)) <= slack if stated is not None else not (cell and value)):
            yield f"{key} is {stated!r}, and {cell} in the release"


def verify_with_openssl(key: Path, sums: bytes, signature: bytes) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "sums").write_bytes(sums)
        Path(folder, "signature").write_bytes(signature)
        command = "openssl pkeyutl -verify -pubin -rawin -in sums -sigfile signature -inkey".split()
        return subprocess.run([*command, key.resolve()], cwd=folder, stdout=subprocess.DEVNULL).returncode == 0


if __name__ == "__main__":
    key = Path(sys.argv[2]) if sys.argv[2:] else Path(__file__).with_name("public_key.pem")
    check = partial(verify_with_openssl, key) if key.is_file() and shutil.which("openssl") else None
    answer = read_answer(Path(sys.argv[1]).read_bytes())
    problems = find_problems(answer, check)
    print(*problems or ["Every figure is as it was published."], sep="\n")
    if unproved := list_unproved(answer):
        print(f"Not proved: {', '.join(unproved)}.")
    print(f"The signature was checked with {key}." if check else f"{NOT_CHECKED} No openssl, or no {key}.")
    sys.exit(1 if problems else 0 if check else 2)
