"""The first wall: a Python in which private parts of objects, files and other modules have no name."""
