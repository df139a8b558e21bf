"""The check of what deploy/ holds: `make deploy-check`. It needs no cluster.

Tests here use tools of their own (`tools`), the chart as Helm renders it (`chart`), the schemas of
Kubernetes and of custom kinds (`schemas`), and the Pods that Ray's objects hide (`lifting`).
"""
