"""The public door: Envoy's configuration and the API's description, both generated from the contract."""
