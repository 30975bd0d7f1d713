"""How memory is stored and how texts become vectors."""
