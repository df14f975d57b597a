"""The way in: gRPC servicers, Dramatiq actors and the `ani` command."""
