"""What the papers say, and what the project set itself, as checks over stored artifacts; a module a subject."""
