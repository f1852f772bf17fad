"""The turn: one client request to one reply, in one or more steps on the backend."""
