"""What the site has, in its order."""

from __future__ import annotations

# Of each part its pages: title and path in the site. One that is not there is left out.
NAV = {
    "Start": {
        "svdfarm": "index.md",
        "Start in five minutes": "start.md",
        "What the terminal shows": "TERMINAL.md",
    },
    "Guides": {
        "A batch": "guides/batch.md",
        "A sweep": "guides/sweep.md",
        "Drafts first": "guides/ladder.md",
        "Stability's weights": "guides/weights.md",
        "A bucket": "guides/s3.md",
        "PostgreSQL": "guides/postgresql.md",
        "Other machines": "guides/machines.md",
        "Kubernetes": "guides/kubernetes.md",
        "From Python": "SDK.md",
        "Over HTTP": "HTTP.md",
        "Webhooks": "WEBHOOKS.md",
        "Codecs": "CODECS.md",
        "Images": "IMAGES.md",
        "Receipts": "RECEIPTS.md",
    },
    "Operations": {
        "Hosts": "HOSTS.md",
        "Running a farm": "OPERATIONS.md",
        "Scaling": "SCALING.md",
        "The chart": "chart.md",
        "Metrics": "METRICS.md",
        "Dashboards": "dashboards.md",
        "Alerts": "ALERTS.md",
        "Traces": "TRACES.md",
        "Tokens": "TOKENS.md",
        "Tenants": "TENANTS.md",
        "Security": "SECURITY.md",
        "Hostile inputs": "HOSTILE_INPUTS.md",
        "Licences": "LICENCES.md",
    },
    "Reference": {
        "The command": "reference/command.md",
        "The Python SDK": "reference/sdk.md",
        "The gRPC API": "reference/api.md",
        "jobs.yaml": "reference/jobs-file.md",
        "Settings": "SETTINGS.md",
        "Error reasons": "errors.md",
    },
    "How it works": {
        "Architecture": "ARCHITECTURE.md",
        "Reliability": "RELIABILITY.md",
        "Chaos": "CHAOS.md",
        "Benchmarks": "reference/benchmarks.md",
        "Benchmarks of the engine": "BENCHMARKS.md",
        "The small model": "model-card.md",
        "How good it is": "model-evaluation.md",
        "Decisions": "decisions/index.md",
    },
    "Project": {
        "Changes": "project/changes.md",
        "Contributing": "project/contributing.md",
        "Reporting a hole": "project/security.md",
    },
}

# Documents that do not lie in docs/: their path in the repository, and in the site. One that is not
# there is left out.
ELSEWHERE = {
    "deploy/README.md": "chart.md",
    "deploy/grafana/README.md": "dashboards.md",
    "farm/nano/MODEL_CARD.md": "model-card.md",
    "farm/nano/EVALUATION.md": "model-evaluation.md",
    "CHANGELOG.md": "project/changes.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
}
