"""Deployments: Compose, Kubernetes, proxy and launchers as shipped, and the page on deployment command by command."""
