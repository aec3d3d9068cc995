"""How important each unit of a group is; one module for each kind."""
