"""`resight app`: search, groups and review in the browser, and an HTTP API, on this machine and from its own assets."""
