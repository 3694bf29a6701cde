"""One agency's node: stores, key files, protocol; asynchronous only at its HTTP edges."""
