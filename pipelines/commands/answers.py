"""Commands about published figures that need nothing else: `check-claim`, `check-answer`, `mcp` and `serve`."""

import re
import socket
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import click
import yaml

from ndl_export.analyst_db.build import NothingReleased
from ndl_export.answers import claims
from ndl_export.answers.published import Published, open_published
from ndl_export.answers.questions import Questions
from ndl_export.facts.check_answer import NOT_CHECKED, list_unproved, read_answer
from ndl_export.facts.known_publishers import UnknownPublisher
from ndl_export.facts.row_hashes import check_answer as find_problems
from ndl_export.files import signing
from pipelines.commands import options
from pipelines.commands.console import Ending, answer, end, show_progress, stop


def _read_signer(text: str) -> str:
    if re.fullmatch("[0-9a-f]{64}", text):
        return text
    try:
        return signing.compute_fingerprint(Path(text).read_bytes())
    except OSError:
        raise ValueError(f"{text} is neither a file nor a fingerprint (SHA-256, 64 digits)") from None


def _get_known_publishers() -> Path:
    """Return the file of this user that remembers the keys of publishers."""
    return Path(click.get_app_dir("readiness")) / "known_publishers.json"


_signers = click.option(
    "--signer",
    "signers",
    multiple=True,
    type=options.Checked("signer", _read_signer),
    help="Public key (PEM) of the expected signer, or its fingerprint, obtained by another channel. Without it, the key"
    " of the first reading is remembered and expected.",
)


@contextmanager
def _open_published(place: str, signers: Collection[str]) -> Iterator[Published]:
    with ExitStack() as stack:
        try:
            with show_progress(f"Reading {place}"):
                published = stack.enter_context(open_published(place, signers, _get_known_publishers()))
        except (NothingReleased, UnknownPublisher, ValueError) as error:
            stop(str(error))
        yield published


def _add_parts(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each part of a claim."""
    parts = {**claims.Claim.model_fields, **{f"than_{name}": of for name, of in claims.Other.model_fields.items()}}
    for name, part in reversed(parts.items()):
        choices = [each for of in get_args(part.annotation) for each in (of, *get_args(of)) if isinstance(each, str)]
        shape: dict[str, Any] = {"type": click.Choice(choices)} if choices else {"metavar": "TEXT"}
        shape |= {"nargs": 2} if name == "interval" else {"multiple": name in ("group", "added", "than_group")}
        if name != "than":
            command = click.option(f"--{name.replace('_', '-')}", help=part.description, **shape)(command)
    return command


@click.command("check-claim")
@click.argument("place")
@click.option("--claim", "file", type=options.FILE, help="The claim as YAML or JSON, instead of options.")
@_add_parts
@_signers
@click.option("--evidence", is_flag=True, help="Add the evidence for the figures, for check-answer, to --json.")
@options.as_json
def check(place: str, file: Path | None, signers: Collection[str], evidence: bool, **parts: Any) -> None:
    """Check a claim about published figures.

    PLACE is a release directory or its address. Prints what was judged, the verdict (supported, not supported, cannot
    be said), the rule, and what can be said instead. Exit status 4 unless the claim is supported.
    """
    stated: dict[str, Any] = {name: value for name, value in parts.items() if value}
    than = {name.removeprefix("than_"): stated.pop(name) for name in [*stated] if name.startswith("than_")}
    stated |= {"than": than} if than else {}
    if bool(stated) == (file is not None):
        stop("give the parts of the claim either as options or with --claim", Ending.USAGE)
    with _open_published(place, signers) as published:
        questions = Questions(published)
        try:
            claim = yaml.safe_load(file.read_text(encoding="utf-8")) if file else stated
            judgement = claims.check_claim(questions, claim)
        except (claims.InvalidClaim, yaml.YAMLError) as error:
            stop(f"{file or 'the claim'}: {error}", Ending.INPUT if file else Ending.USAGE)
        proof = questions.prove(judgement.figures) if evidence and judgement.figures else {}
    facts = asdict(judgement) | {"signature": published.signature} | proof
    answer(facts, lambda: f"{_describe_judgement(judgement)}\n{published.signature}")
    if judgement.verdict != claims.SUPPORTED:
        end(Ending.HOLD)


def _describe_judgement(judgement: claims.ClaimJudgement) -> str:
    corrected = f"What can be said: {judgement.corrected}" if judgement.corrected else ""
    judged = f"Judged: {judgement.judged}"
    return "\n".join(filter(None, (judged, f"{judgement.verdict.capitalize()}. {judgement.reason}", corrected)))


@click.command()
@click.argument("file", metavar="ANSWER", type=options.FILE)
@options.add_option("--signer")
@options.as_json
def check_answer(file: Path, signer: Path | None) -> None:
    """Check the figures of an answer against the signed release.

    ANSWER is an answer with its evidence, as JSON. Every figure must be that of its row, the row one of the release,
    and the notice the release's; what else it says, such as sentences, is listed as not proved. Needs no bundle and no
    network. Exit status 1 if anything differs.
    """
    try:
        document = read_answer(file.read_bytes())
    except ValueError as error:
        stop(f"{file} is not JSON ({error}): give the answer as the service returned it")
    problems, unproved = find_problems(document, signer.read_bytes() if signer else None), list_unproved(document)
    facts = {"answer": str(file), "ok": not problems, "signature_checked": signer is not None, "problems": problems}
    answer(facts | {"not_proved": unproved}, lambda: _describe_check(file, problems, unproved, signer))
    if problems:
        end(Ending.INPUT)


def _describe_check(file: Path, problems: list[str], unproved: list[str], signer: Path | None) -> str:
    first = f"{file}: {'WRONG' if problems else 'every figure is as it was published'}"
    signed = "" if problems else f"The signature was checked with {signer}."
    last = signed if signer else f"{NOT_CHECKED} Check again with --signer and the publisher's key."
    others = f"Not proved: {', '.join(unproved)}." if unproved else ""
    return "\n".join(filter(None, (first, *(f"  {each}" for each in problems), others, last)))


@click.command()
@click.argument("place")
@click.option(
    "--transport",
    type=click.Choice(["stdio", "http"]),
    default="stdio",
    show_default=True,
    help="stdio, for a client that starts the server, or http.",
)
@options.add_listening_options(8081)
@_signers
def mcp(place: str, transport: str, host: str, port: int, signers: Collection[str]) -> None:
    """Serve published figures to agents (Model Context Protocol).

    PLACE is a release directory or its address. Tools search, compare, rank, add up, cite and check claims; every
    answer says what may be concluded. Over HTTP, the endpoint is /mcp.
    """
    try:
        from ndl_export.serve.mcp import build_server
    except ImportError:
        stop("the server is not installed: install the project with its extra `mcp` (`make setup` does)")
    with _open_published(place, signers) as published:
        server = build_server(published)
        if transport == "stdio":
            server.run("stdio")
        else:
            click.echo(f"http://{host}:{port}/mcp", err=True)
            server.run("streamable-http", host=host, port=port, stateless_http=True, json_response=True)


class _WithoutPandas:
    """Hides pandas, which DuckDB would import to see whether an Arrow table is a data frame: 60 MB for nothing."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        """Raise `ModuleNotFoundError` for pandas."""
        if name == "pandas":
            raise ModuleNotFoundError(name)


@click.command()
@click.argument("release_directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@options.add_listening_options(8080)
@_signers
def serve(release_directory: Path, host: str, port: int, signers: Collection[str]) -> None:
    """Answer queries for published figures over HTTP.

    RELEASE_DIRECTORY holds bundles: the folder that `readiness publish` sent them to. It is only read, and nothing else
    is: no key and no home folder. A new release or a withdrawal is noticed within seconds. Serves until Ctrl-C; the
    page at / describes the API.
    """
    sys.meta_path.insert(0, _WithoutPandas)
    try:
        from ndl_export.serve.queries import Latest
        from ndl_export.serve.server import run
        from ndl_export.serve.service import create_app
    except ImportError:
        stop("the service is not installed: install the project with its extra `serve` (`make setup` does)")
    try:
        listening = socket.create_server((host, port))
    except OSError:
        stop(f"nothing can listen at {host}:{port}. The service was not started: choose another --host or --port")
    with listening:
        with show_progress(f"Reading {release_directory}"):
            latest = Latest(release_directory, signers, _get_known_publishers())
            try:
                found = latest.count_releases()
            except (UnknownPublisher, ValueError) as error:
                stop(str(error))
        click.echo(f"http://{host}:{port}/  ({found} releases in {release_directory})\n{latest.signature}", err=True)
        run(create_app(latest), listening)
