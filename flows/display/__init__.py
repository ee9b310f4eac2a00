"""What a run shows while and after it runs: log lines, bars, artifacts."""
