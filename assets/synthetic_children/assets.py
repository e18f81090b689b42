"""The asset of synthetic children: made from one published release, at no cost to the budget."""

from pathlib import Path

import dagster as dg

from assets.catalogue import descriptions
from assets.catalogue.definitions import PUBLISHED, RELEASE, Words, build_check_result
from assets.catalogue.runs import RELEASE as RELEASE_TAG, redact_errors
from assets.home.installation import Installation
from assets.release.assets import BUNDLE
from assets.synthetic_children.make import publish_synthetic
from ndl_export.bundle.release_directory import find_current_version
from ndl_export.facts.release_facts import InvalidVersion
from ndl_export.facts.synthetic_folder import SYNTHETIC_FOLDER
from ndl_export.files.signing import SUMS_FILE
from ndl_export.synthetic.children import SMALLEST_GROUP
from privacy.keys import RELEASE as KEYS_OF_RELEASE
from privacy.release.canonical import compute_sha256

SYNTHETIC = dg.AssetKey([RELEASE, SYNTHETIC_FOLDER])
INTERVALS_CHECK = "intervals"
_WORDS = Words.read(Path(__file__).with_name("words.yaml"))
_CONFIG = {
    "version": _WORDS.build_field("synthetic", "version", is_required=False),
    "cohort": _WORDS.build_field("synthetic", "cohort", is_required=False),
    "seed": _WORDS.build_field("synthetic", "seed", int, default_value=1),
}


@dg.asset(
    key=SYNTHETIC,
    config_schema=_CONFIG,
    deps=[BUNDLE],
    kinds={"parquet", "csv"},
    **PUBLISHED,
    metadata=descriptions.name_documents("docs/synthetic-children.md"),
    description=_WORDS.assets["synthetic"],
    check_specs=[_WORDS.build_check_spec(SYNTHETIC, INTERVALS_CHECK, by_cohort=False, smallest=SMALLEST_GROUP)],
)
@redact_errors
def synthetic_children(
    context: dg.AssetExecutionContext, installation: dg.ResourceParam[Installation]
) -> dg.MaterializeResult:
    home, config = installation.home_folder, context.op_execution_context.op_config
    version = config.get("version") or str(find_current_version(home.release) or "")
    if not version:
        raise InvalidVersion(f"there is no release in {home.release}: synthetic children are made from one")
    context.instance.add_run_tags(context.run.run_id, {RELEASE_TAG: version})
    made = publish_synthetic(
        home, installation.load_keys(KEYS_OF_RELEASE), version, config.get("cohort"), config["seed"]
    )
    folder = home.release / SYNTHETIC_FOLDER / version
    words = f"{made.within} of {made.compared} published percentages are within their intervals"
    check = build_check_result(
        SYNTHETIC, INTERVALS_CHECK, passed=not made.outside, words=words, problems=len(made.outside)
    )
    metadata = descriptions.check_metadata({"release": version, "path": dg.MetadataValue.path(folder)})
    sums = compute_sha256((folder / SUMS_FILE).read_bytes())
    return dg.MaterializeResult(metadata=metadata, check_results=[check], data_version=dg.DataVersion(sums))
