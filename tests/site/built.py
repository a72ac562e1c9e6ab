"""Where `make site` puts the site, and what tests do where it isn't."""

import os
from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "build" / "site"


def skipped(missing, why):
    """A mark that skips with the reason, but not in CI, where a missing thing is a failure."""
    return pytest.mark.skipif(missing and os.environ.get("CI") != "true", reason=why)


needs_site = skipped(not (SITE / "zh" / "index.html").exists(), "no site: `make site` builds it")
