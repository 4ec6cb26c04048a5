"""Effects: write limits, keep the ledger of leases, take every write back."""
