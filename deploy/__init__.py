"""How the farm is deployed: a Helm chart, images, rendered manifests, and the check of them all."""
