"""How any Cadre service starts, serves, fails, traces and stops."""
