"""Numbers of a running node made readable: what there is to know, and how Prometheus reads it. Pure."""
