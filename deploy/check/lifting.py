"""The Pods that KubeRay makes of a RayService, as plain Pods that other tools can judge."""

from __future__ import annotations

from copy import deepcopy

from deploy.check.chart import Object


def lift_pods(service: Object) -> list[Object]:
    """The head, with the autoscaler that KubeRay puts beside it, and one Pod of each group."""
    cluster = service["spec"]["rayClusterConfig"]
    head = _pod(service, "head", cluster["headGroupSpec"]["template"])
    if cluster.get("enableInTreeAutoscaling"):
        ray = head["spec"]["containers"][0]
        options = cluster["autoscalerOptions"]
        own = ("imagePullPolicy", "env", "volumeMounts", "resources", "securityContext")
        autoscaler = {key: deepcopy(options[key]) for key in own if key in options}
        head["spec"]["containers"].append(
            {"name": "autoscaler", "image": ray["image"], **autoscaler}
        )
    groups = cluster["workerGroupSpecs"]
    return [head, *(_pod(service, group["groupName"], group["template"]) for group in groups)]


def _pod(service: Object, name: str, template: Object) -> Object:
    metadata = {
        **deepcopy(template["metadata"]),
        "name": f"{service['metadata']['name']}-{name}",
        "namespace": service["metadata"]["namespace"],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": deepcopy(template["spec"]),
    }
