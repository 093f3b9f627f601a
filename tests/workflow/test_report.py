"""The first page of Snakemake's report: short, with every paper, and without the configuration."""

import re
from pathlib import Path
from types import SimpleNamespace

import yaml
from docutils.core import publish_parts
from jinja2 import Environment

REPOSITORY = Path(__file__).parents[2]
MOST = 2000
"""Characters that stay below 800 pixels in the report's column of 512: 1,300 took 540 in Chromium."""


def first_page() -> str:
    """As Snakemake renders it for the default experiment."""
    config = yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8"))
    template = (REPOSITORY / "workflow/report/workflow.rst").read_text(encoding="utf-8")
    words = Environment().from_string(template).render(snakemake=SimpleNamespace(config=config))
    options = {"halt_level": 2}
    return publish_parts(words, writer="html", settings_overrides=options)["html_body"]


def test_the_first_page_of_the_report_fits_a_screen() -> None:
    words = re.sub(r"<[^>]+>", "", first_page())
    assert "rodflow: digits" in words
    assert len(words) < MOST
    assert "learning_rate" not in words


def test_the_first_page_of_the_report_names_every_paper() -> None:
    cited = (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    papers = set(re.findall(r"arXiv:(\d{4}\.\d{5})", cited))
    assert len(papers) == 8
    assert papers == set(re.findall(r"\d{4}\.\d{5}", first_page()))
