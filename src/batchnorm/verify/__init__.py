"""The real frameworks as oracles, and the comparison of our layers with them."""
