"""HTTP API and web pages over the journal: what ``orc up`` serves.

It reads what is on record and puts requests into inboxes; it drives no run and opens no value that could run code.
"""
