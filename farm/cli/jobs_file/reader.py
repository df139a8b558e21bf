"""jobs.yaml into a Plan. Everything is checked, and counted before anything is expanded."""

from __future__ import annotations

from pathlib import Path

import yaml

from farm.cli.jobs_file import keys, values
from farm.cli.jobs_file.document import compose, read_text
from farm.cli.jobs_file.entries import Settings, read_entries, read_output, read_settings
from farm.cli.jobs_file.expansion import Draw, expand
from farm.cli.jobs_file.keys import PARAM_KEYS
from farm.cli.jobs_file.mistakes import Findings
from farm.cli.jobs_file.plan import Plan
from farm.jobs.params import Range
from farm.jobs.webhooks import WebhookInvalid, read_url


def read(path: Path, draw: Draw) -> Plan:
    """The plan in the file at `path`; `draw` gives the seed of a shot whose file name shows one.

    Raises FileUnreadable, or JobsFileInvalid with every mistake found.
    """
    told, text = str(path), read_text(path)
    findings = Findings(told, text)
    document = compose(told, text)
    root = values.mapping(document, keys.JOB_KEYS, "the file", findings)
    name, priority, defaults = "", 0, Settings()
    if node := root.get("name"):
        name = values.text(node, "name", findings, limit=keys.NAME_LIMIT) or ""
    if node := root.get("priority"):
        allowed = Range(0, keys.PRIORITY_LIMIT)
        priority = int(values.number(node, allowed, "priority", findings) or 0)
    webhook = _webhook(root.get("webhook"), findings)
    if node := root.get("defaults"):
        given = values.mapping(node, tuple(PARAM_KEYS), "defaults", findings)
        defaults = read_settings(given, "defaults.", findings)
    output = read_output(root.get("output"), findings)
    entries = read_entries(root.get("shots"), document, findings)
    findings.check()
    base = defaults.over(output.settings)
    shots = expand(entries, base, output, path.parent, draw, findings)
    findings.check()
    return Plan(told, text, name, priority, webhook, output.folder, shots)


def _webhook(node: yaml.Node | None, findings: Findings) -> str:
    if node is None:
        return ""
    given = values.text(node, "webhook", findings) or ""
    try:
        if given:
            read_url(given, private=True)  # which of those a farm allows is the farm's to say
    except WebhookInvalid as error:
        findings.add(node, f"webhook {error}")
    return given
