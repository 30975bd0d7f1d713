"""The built-in tools, one module a family, and those of MCP servers."""
