"""The Dagster asset of returns, by cohort. Disabled unless the installation names a folder of sharing agreements."""

import dagster as dg

from assets.catalogue.runs import COHORTS, redact_errors
from assets.home.installation import Installation
from assets.intake.assets import RESTRICTED
from assets.linkage.assets import LINKS
from assets.returns.agreements import load_all
from assets.returns.make import make_returns
from privacy.doors import clock

GROUP = "returns"
RETURNS = dg.AssetKey([RESTRICTED, "returns"])


@dg.asset(
    key=RETURNS,
    # Without it, the launchpad asks for options that nothing reads.
    config_schema={},
    deps=[LINKS],
    partitions_def=COHORTS,
    group_name=GROUP,
    kinds={"duckdb", "age"},
    owners=["team:data-engineering"],
    tags={"zone": RESTRICTED},
    description=(
        "For each sender that a sharing agreement names, about its own rows only: which other services know the child,"
        " encrypted to that sender's key. Made by the job `returns` alone, under agreements in force on the day;"
        " every return is in the disclosure log. Without a folder of agreements nothing is made."
    ),
)
@redact_errors
def returns(context: dg.AssetExecutionContext, installation: dg.ResourceParam[Installation]) -> None:
    folder = installation.agreements
    if folder is None:
        context.log.info("no folder of sharing agreements is given (READINESS_AGREEMENTS): nothing is made")
        return
    made = make_returns(
        installation.home_folder.get_cohort(context.partition_key),
        load_all(folder),
        installation.load_keys(),
        clock.today(),
    )
    for one in made:
        context.log.info(f"{one.council}/{one.source}: {one.sentence}")
