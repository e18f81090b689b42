"""The command `readiness check-answer`."""

import json
from pathlib import Path
from typing import Any

import click

from ndl_export.bundle.check_answer import NOT_CHECKED
from ndl_export.bundle.row_hashes import check_answer as find_problems
from pipelines.commands import options
from pipelines.commands.console import answer, end, stop
from pipelines.ending import Ending


@click.command()
@click.argument("file", metavar="ANSWER", type=options.FILE)
@options.add_option("--signer")
@options.as_json
def check_answer(file: Path, signer: Path | None) -> None:
    """Check the figures of an answer against the signed release.

    ANSWER is an answer with its evidence, as JSON. Every figure must be that of its row, and the row one of the
    release; sentences are not checked. Needs no bundle and no network. Exit status 1 if anything differs.
    """
    try:
        given: Any = json.loads(file.read_bytes())
    except ValueError:
        stop(f"{file} is not JSON: give the answer as the service returned it")
    problems = find_problems(given, signer.read_bytes() if signer else None)
    facts = {"answer": str(file), "ok": not problems, "signature_checked": signer is not None, "problems": problems}
    answer(facts, lambda: _describe(file, problems, signer))
    if problems:
        end(Ending.INPUT)


def _describe(file: Path, problems: list[str], signer: Path | None) -> str:
    first = f"{file}: {'WRONG' if problems else 'every figure is as it was published'}"
    signed = "" if problems else f"The signature was checked with {signer}."
    last = signed if signer else f"{NOT_CHECKED} Check again with --signer and the publisher's key."
    return "\n".join(filter(None, (first, *(f"  {each}" for each in problems), last)))
