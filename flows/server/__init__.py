"""The Prefect server: whether it answers, its settings, deployments, events, runs left behind."""
