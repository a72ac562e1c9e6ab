"""One module per format, each turning a page's data into that format's text; none adds a fact."""
