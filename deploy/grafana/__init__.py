"""Grafana's dashboard and Prometheus's alerts, for a farm that no chart has installed."""
