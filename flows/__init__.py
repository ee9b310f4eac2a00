"""Order, retries, schedules and what the UI shows; the only package that knows Prefect."""
