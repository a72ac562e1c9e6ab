"""One module per section of a page: each makes it from two sides, in one language."""
