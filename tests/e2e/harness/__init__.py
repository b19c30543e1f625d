"""Everything an end-to-end test stands on: processes, raw sockets, fake servers, relays, checkers."""
