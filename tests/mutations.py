"""Mutations planted in the product, each with the tests that have to fail: `python -m tests.mutations [NAME...]`.

A mutation is found by its text, which must occur once in the product, so that moving a module does not lose it. Each
is tried on a copy of the working tree. Exits with 1 if a mutation was not found or survived.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("sources", "privacy", "assets", "ndl_export", "pipelines")


@dataclass(frozen=True)
class Mutation:
    """`before` becomes `after`; pytest on `tests` has to fail."""

    before: str
    after: str
    tests: str


MUTATIONS = {
    "half-charge": Mutation(
        "float(combinators.make_composition(draws).map(1.0))",
        "float(combinators.make_composition(draws).map(0.5))",
        "tests/privacy/mechanism",
    ),
    "overdraft": Mutation("    if amount > left:", "    if amount > 2 * left:", "tests/privacy/ledger"),
    "altered-ledger": Mutation(" or line.entry_hash != line.compute_hash()", "", "tests/privacy/ledger"),
    "strangers-signature": Mutation(
        "        if person is STRANGER:",
        "        if person is None:",
        "tests/integration/release/test_sign_off.py tests/integration/release/test_signers.py",
    ),
    "skipped-hold": Mutation("    yield from delivered.iter_not_in()\n", "", "tests/integration/release/test_holds.py"),
    "swapped-interval": Mutation(
        "lower, upper = 100 * np.clip(difference - down, -1.0, 1.0)",
        "upper, lower = 100 * np.clip(difference - down, -1.0, 1.0)",
        "tests/unit/release",
    ),
    "withheld-shown": Mutation(
        "PublishedFigures(np.where(flag == WITHHELD, np.nan, 100 * difference)",
        "PublishedFigures(100 * difference",
        "tests/unit/release tests/unit/export",
    ),
    "lost-row": Mutation(
        "yield batch.filter(pa.array(~unwanted)) if unwanted.any() else batch",
        "yield batch.slice(1)",
        "tests/integration/intake/test_rules.py",
    ),
    "value-in-an-error": Mutation(
        "could not be read ({type(error).__name__} at {place})",
        "could not be read ({error} at {place})",
        "tests/unit/intake tests/integration/intake/test_fuzz.py tests/integration/intake/test_reader_process.py",
    ),
    "removed-child-stays": Mutation(
        "                if gone(file.read([ROW_KEY])[ROW_KEY].to_numpy()).any():",
        "                if not path:",
        "tests/e2e/keeping/test_forgetting.py",
    ),
    "unchecked-content": Mutation(
        "in list_changed(files, expected)),",
        "in list_changed(files, expected) if not files),",
        "tests/integration/export/test_bundle.py tests/integration/export/test_verify.py",
    ),
    "one-key-for-tokens": Mutation(
        'keys.derive_subkey("linker", f"token/', 'keys.derive_subkey(token.key, f"token/', "tests/unit/pseudonyms"
    ),
    "part-passed-over": Mutation(
        "        if unfit := given - _ANY_CLAIM - _JUDGED[self.kind]:",
        "        if unfit := given & {*_REFUSED}:",
        "tests/integration/export/test_claims.py",
    ),
    "noise-passed-over": Mutation(
        "        if not found.is_certain:\n",
        "        if not found:\n",
        "tests/integration/export/test_claims.py",
    ),
    "expired-agreement": Mutation(
        "        if on > self.expires:",
        "        if on is None:",
        "tests/unit/returns tests/integration/returns/test_agreements.py tests/integration/returns/test_make.py",
    ),
}


def main(names: list[str]) -> int:
    outcomes = {name: _try(MUTATIONS[name]) for name in names or MUTATIONS}
    for name, outcome in outcomes.items():
        print(f"{name:24}{outcome}")
    return int(set(outcomes.values()) != {"caught"})


def find_places(mutation: Mutation) -> list[Path]:
    """Return the module of each occurrence of a mutation's text."""
    modules = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return [path for path in modules for _ in range(path.read_text().count(mutation.before))]


def _try(mutation: Mutation) -> str:
    found = find_places(mutation)
    if len(found) != 1:
        return f"not planted: its text occurs {len(found)} times"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        for name in subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
        path = copy / found[0].relative_to(ROOT)
        path.write_text(path.read_text().replace(mutation.before, mutation.after))
        command = [sys.executable, "-m", "pytest", "-n0", "-x", "-q", *mutation.tests.split()]
        ran = subprocess.run(command, cwd=copy, env=os.environ | {"PYTHONPATH": str(copy)}, capture_output=True)
    return {0: "survived", 1: "caught"}.get(ran.returncode, f"not tried: pytest exited with {ran.returncode}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
