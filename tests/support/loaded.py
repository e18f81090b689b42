"""What a run loads or builds only when it needs it: suites of expectations, templates, tests' own modules."""

import tests.support.installation.rig
import tests.support.installation.steps
import tests.support.release.crash  # noqa: F401  these hold what forked processes run
from assets.intake import quality
from ndl_export.pages.kit import make_environment
from tests.support import PROJECT

quality.load()
for package in ("assets", "ndl_export"):
    for folder in (PROJECT / package).rglob("templates"):
        environment = make_environment(folder)
        for name in environment.list_templates(filter_func=lambda name: not name.endswith(".pyc")):
            environment.get_template(name)
