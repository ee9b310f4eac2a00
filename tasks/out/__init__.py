"""One OUT folder: where things lie, the lock, the ledger's tables, tickets, manifests, outcomes."""
