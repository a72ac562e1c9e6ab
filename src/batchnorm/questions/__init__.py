"""Questions: small experiments that ask a layer, a real framework's or ours, how it behaves."""
