"""`readiness approve` and `accept`: people sign releases off, and accept what holds them."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import click
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assets.home.paths import CohortStore, Home
from assets.home.signers import open_signature_log
from assets.release import decision_sheet, fix_release, hold_rules, holds, requests_to_sign, sign_off
from assets.release.release import CohortRelease
from pipelines.commands import console, options
from pipelines.commands.console import Ending, answer, is_json_wanted, show_progress, stop
from pipelines.commands.keys import keys
from pipelines.commands.pipeline_options import Choices, add_cohort_options, add_home_option, choices, gather
from pipelines.commands.runs import release
from pipelines.reports.document import format_text, write_text
from privacy.doors import files
from privacy.keys import generate_private_pem, load_own_key
from privacy.release import policy
from privacy.release.signature_log import parse_signature
from sources.reference.cohorts import Cohort


@dataclass(frozen=True)
class Signing:
    """How a person signs: with a key file and the hash of the page that was read, or a signature made elsewhere."""

    key_file: Path | None
    sheet_read: str | None
    signature: BinaryIO | None

    @property
    def is_wanted(self) -> bool:
        return bool(self.key_file or self.signature)

    def load(self, sheet_now: str) -> Ed25519PrivateKey | bytes | None:
        """Return the key, if the page is still the one that was read, or the signature, or None."""
        if self.key_file and self.signature:
            stop("give --key or --signature, not both", Ending.USAGE)
        if self.signature:
            return parse_signature(self.signature.read())
        if self.key_file is None:
            return None
        if self.sheet_read is None:
            stop("name the page that you have read by its SHA-256: --sheet SHA256", Ending.USAGE)
        sign_off.check_read(self.sheet_read, sheet_now)
        return load_own_key(self.key_file, lambda: click.prompt("Password of your key", hide_input=True, err=True))


def add_signing_options(further: str) -> Callable[..., Any]:
    """Return the options for signing, passed on as `signing`; `further` goes into the help of --key.

    A private key can be piped into a container that lacks a person's files.
    """
    return gather(
        "signing",
        Signing,
        click.option(
            "--key",
            "key_file",
            type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
            metavar="FILE",
            help=f"File of your own private key, or - to read it from standard input{further}.",
        ),
        click.option(
            "--sheet",
            "sheet_read",
            metavar="SHA256",
            help="SHA-256 of the page that you have read; needed with --key. Nothing is signed if the page has"
            " changed.",
        ),
        click.option(
            "--signature",
            type=click.File("rb"),
            metavar="FILE",
            help="A signature made elsewhere, of the file that was written to sign; or - to read it from standard"
            " input.",
        ),
    )


@click.command()
@add_home_option()
@options.add_option("--cohort", "; needed unless it is a change of people")
@add_signing_options(", for use on your own machine; needs --sheet")
@release
@choices
@click.option("--publish", is_flag=True, help="Approve the bundle that is made and held, so that it is published.")
@click.option("--people", is_flag=True, help="Approve the people named in the policy instead of those recorded.")
def approve(
    home: Home,
    cohort: Cohort | None,
    signing: Signing,
    version: str | None,
    choices: Choices,
    publish: bool,
    people: bool,
) -> None:
    """Write a release's decision sheet, and sign it.

    Without --key or --signature nothing is signed: the sheet is written, and beside it the file to sign on your own
    machine. No budget is spent without the signatures that the policy asks for.
    Before anything is measured you sign plan, cohorts, version, share, inputs and policy; with --publish, the bundle
    that was made. Anything that changes afterwards needs a new signature.
    """
    store, again = home.get_cohort(cohort.code if cohort else ""), ""
    with show_progress("Decision sheet"):
        if people:
            request = requests_to_sign.build_people_request(home)
        elif cohort is None:
            stop("name the cohort: --cohort 202425", Ending.USAGE)
        else:
            options = fix_release.ReleaseOptions(*choices)
            begun = CohortRelease(store, version or fix_release.choose_release(store))
            # without options a release goes on as it was begun, so that people need not repeat them
            if options == fix_release.ReleaseOptions() and begun.read_entry():
                options = sign_off.read_begun_options(begun)
            request = sign_off.build_next_request(begun, options, publish=publish)
            again = (
                f"request fulfil {' '.join(options.requests)}" if options.requests else f"run --cohort {cohort.code}"
            )
        written = decision_sheet.write_decision_sheet(store, request)
    click.echo(f"Decision sheet: {written.sheet}\n  SHA-256 {written.sheet_sha256}\nFile to sign: {written.file}")
    by = signing.load(written.sheet_sha256)
    if by is None:
        if held := sign_off.explain_holds(home, request):
            click.echo(f"! {held}.")
        click.echo(HOW_TO_SIGN)
        return
    found = sign_off.sign_request(store, request, written.sheet_sha256, by)
    what, then = "the change of people", "The ledger has recorded them: from now on they sign."
    if not people:
        what = f"the {request['stage']} of release {request['release']}"
        then = (
            f"Now run it again, with the same options: readiness {again} --home {shlex.quote(str(home.root))}"
            f" --release {request['release']} (or start the job in Dagster)."
        )
    click.echo(describe_signed(found, what, then))


HOW_TO_SIGN = (
    "Nothing was signed. Read the page, and sign the file on your own machine: openssl pkeyutl -sign -rawin -inkey KEY"
    " -in FILE -out SIGNATURE. Then run the same command with --signature SIGNATURE; or, where your key is, with"
    " --sheet SHA256 --key KEY."
)


def describe_signed(found: sign_off.SignatureCount, what: str, then: str) -> str:
    """Return the text after signing: what was signed, and the next step, which is `then` if enough people signed."""
    another = "Another person must sign, with a key of their own, before it goes on."
    next_step = another if found.signed < found.needed else then
    return f"Signed: {what}, as {found.role}; {found.signed} of {found.needed}. {next_step}"


@keys.command()
@click.option("--name", required=True, help="Whose key it is.")
@click.option("--role", default="privacy lead", show_default=True, help="Role in which they sign.")
@click.option("--out", type=options.OUT, required=True, help="Where to write; nothing is replaced.")
@click.option("--password", is_flag=True, help="Ask for a password, and encrypt the key with it.")
def approver(name: str, role: str, out: Path, password: bool) -> None:
    """Make the key of a person who signs releases off, and print the lines for the policy file.

    The file is that person's alone: keep it off the machine that runs the pipeline.
    """
    secret = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True) if password else ""
    files.make_folder(out.resolve().parent)
    try:
        with files.create(out) as file:
            file.write(generate_private_pem(secret.encode()))
    except FileExistsError:
        console.stop(f"{out} is there already; keys are never replaced in place")
    public = policy.format_public_key(load_own_key(out, lambda: secret).public_key())
    lines = yaml.safe_dump([{"name": name, "role": role, "key": public, "public": False}], sort_keys=False)
    click.echo(f"Private key: {out}\nFor sign_off.people of the policy:\n")
    click.echo("".join(f"    {line}\n" for line in lines.splitlines()), nl=False)


@click.command()
@add_cohort_options()
@click.option("--hold", "names", multiple=True, metavar="NAME", help="Hold that you accept, as named in the list.")
@click.option("--cause", "causes", multiple=True, metavar="CAUSE", help="Accept every open hold of a cause.")
@options.add_option("--council", "; with --cause, accept only its holds", multiple=True)
@options.add_option("--reason", "; the decision sheet repeats it. Name no child", required=False)
@add_signing_options(", as for readiness approve; needs --sheet")
@click.option("--for-dagster", is_flag=True, help="Record nothing: print the lines for the configuration of a run.")
@options.as_json
def accept(
    store: CohortStore,
    names: tuple[str, ...],
    causes: tuple[str, ...],
    council: tuple[str, ...],
    reason: str | None,
    signing: Signing,
    for_dagster: bool,
) -> None:
    """List what a release waits for, or accept it with your own key.

    An acceptance covers the files that are in: it does not count for a later one. Without --hold or
    --cause it lists, and records nothing; without --key or --signature it writes the file to sign on your own machine.
    One signature covers all the holds that you select, with one reason.
    """
    if council and not causes:
        stop("--council says whose holds of a cause you accept: give --cause as well", Ending.USAGE)
    names = holds.select_hold_names(store, names, causes, council)
    sheet_sha256, only_lines = holds.list_sha256(store), bool(names and for_dagster)
    if not only_lines:
        # with --json standard output is one document and nothing else
        click.echo(f"List of holds: {store.list_of_holds}\n  SHA-256 {sheet_sha256}", err=is_json_wanted())
    if names:
        if reason is None:
            stop("an acceptance needs a reason: --reason TEXT", Ending.USAGE)
        _accept(store, names, reason, sheet_sha256, signing.load(sheet_sha256), for_dagster=for_dagster)
    if not only_lines:
        state = holds.read_state(store.home, [store.cohort])
        text = write_text("holds.md.j2", state=state, cohort=store.cohort)
        answer(_build_facts(state, store.cohort), lambda: format_text(text))


def _accept(
    store: CohortStore,
    names: Sequence[str],
    reason: str,
    sheet_sha256: str,
    by: Ed25519PrivateKey | bytes | None,
    *,
    for_dagster: bool,
) -> None:
    """Record an acceptance, or print it for `accept:` in the configuration of `release__measurements`.

    Without `by`, write the file to sign.
    """
    log = open_signature_log(store.home)
    unsigned = holds.build_acceptance(store, names, reason, sheet_sha256)
    if by is None:
        files.write(store.acceptance_to_sign, unsigned.message)
        click.echo(f"File to sign: {store.acceptance_to_sign}\n{HOW_TO_SIGN}", err=is_json_wanted())
        return
    person, signed = log.sign_content(unsigned, by)
    if for_dagster:
        lines = [{"holds": [*names], "reason": reason, "signature": signed.signature}]
        click.echo(yaml.safe_dump(lines, sort_keys=False, width=1_000), nl=False)
        return
    log.record_acceptance(signed)
    click.echo(f"Accepted: {', '.join(names)}, as {person.role}.", err=is_json_wanted())


def _build_facts(state: holds.HoldState, cohort: str) -> dict[str, Any]:
    """Return facts that are JSON-ready, with people named by their roles."""

    def build_fact(hold: hold_rules.Hold) -> dict[str, str]:
        return {name: getattr(hold, name) for name in ("name", "cause", "council", "source", "sentence")}

    return {
        "cohort": cohort,
        "open": [build_fact(hold) for hold in state.open],
        "accepted": [
            build_fact(hold) | {"role": accepted.role, "day": accepted.day} for hold, accepted in state.closed
        ],
    }
