"""Real batches under every fault we can make, and the books checked by somebody else's figures.

`python -m chaos` starts the services, breaks them, and counts what was asked, paid and kept from
four sides: the fake provider's own bill, the ledger's tables, the store's objects, the receiver.
"""
