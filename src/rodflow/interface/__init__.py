"""The doors of the library: a study of a problem of one's own, and the command line."""
