"""The command line. The module of a command is imported when it is called, so that `--help` answers at once."""

import click

from pipelines.commands.console import HELP, PlainGroup, check_environment

USED_BY = {
    "Data engineer": {
        "run": ("runs.run", "Make a signed release from extracts, step by step."),
        "status": ("installations.status", "Show who has sent what, and what a release waits for."),
        "doctor": ("installations.doctor", "Check that this installation has what a run needs."),
        "metrics": ("installations.metrics", "Print the state of the installation, for Prometheus."),
        "ui": ("installations.ui", "Run Dagster over a home folder, for scheduled use."),
        "council": ("council.council", "Onboard a council: draft and check its council file."),
        "keys": ("sign_off.keys", "Make and look at key sets."),
        "backup": ("backups.backup", "Back up the records of an installation, or its keys."),
        "restore": ("backups.restore", "Restore keys, or apply records to a home folder."),
        "synth": ("runs.synth", "Write synthetic extracts into landing, to try things out."),
    },
    "Data protection": {
        "log": ("keeping.log_command", "Show what was done with personal data, when and by whom."),
        "forget": ("keeping.forget", "Remove a child's rows, and rebuild what depends on them."),
        "parts": ("keeping.parts_command", "List the parts that an extract came in, or take one back."),
        "retention": ("keeping.retention_command", "Remove data whose retention period is over."),
        "shred": ("keeping.shred", "Destroy files in landing that were taken in as they are."),
    },
    "Council or health data officer": {
        "pseudonymise": ("sender.pseudonymise", "Replace identifiers by tokens, before anything is sent."),
        "returns": ("making_returns.returns", "Joined-up returns to services, under sharing agreements."),
    },
    "Privacy or statistics lead": {
        "plan": ("budgets.plan", "Show how accurate a release will be, before any budget is spent."),
        "accept": ("sign_off.accept", "List what a release waits for, or accept it with your own key."),
        "approve": ("sign_off.approve", "Write a release's decision sheet, and sign it."),
        "budget": ("budgets.budget", "Show how much of the privacy budget is spent and left."),
        "link": ("linked.link", "Ask how the records of a cohort were linked."),
        "review": ("linked.review", "Have services look for a sample of the pupils who are not linked to them."),
    },
    "Researcher, and whoever answers one": {
        "request": ("requests.request", "Tables on request: draft one, and see how to answer it.")
    },
    "Analyst, journalist, and their agents": {
        "check-claim": ("answers.check", "Check a claim about published figures before it is printed."),
        "mcp": ("answers.mcp", "Serve published figures to agents, with what may be concluded."),
    },
    "Publisher, and whoever checks a release": {
        "publish": ("publishing.publish", "Publish a release to the place where readers download it."),
        "serve": ("answers.serve", "Answer queries for published figures over HTTP."),
        "withdraw": ("publishing.withdraw", "Mark a release as withdrawn, once it is signed."),
        "verify": ("releases.verify", "Check a bundle: signature, checksums, schema, consistency."),
        "check-answer": ("answers.check_answer", "Check the figures of an answer against the signed release."),
        "recompute": ("releases.recompute", "Recompute a bundle's tables from its noisy counts."),
        "synthesise": ("releases.synthesise", "Make synthetic children from a bundle's noisy counts."),
        "diff": ("releases.diff", "Show what changed from one release to another."),
    },
}


@click.group(cls=PlainGroup, context_settings=HELP, used_by=USED_BY)
def main() -> None:
    """From councils' extracts to safe school-readiness statistics."""
    # `doctor` lists every setting that cannot be used, and must not be stopped by the first
    if click.get_current_context().invoked_subcommand != "doctor":
        check_environment()
