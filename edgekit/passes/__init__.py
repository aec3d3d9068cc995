"""The stages between the import and the export: each takes a graph and returns a graph."""
