"""The rules of the record: synchronous, and without network, database, file, clock or randomness."""
