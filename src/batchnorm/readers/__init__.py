"""One module per framework that reads its live layers: what `read` looks up, and nothing public."""
