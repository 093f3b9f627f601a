"""The stages of a run: labelled data in, labelled data out. The workflow calls them, and a notebook can."""
