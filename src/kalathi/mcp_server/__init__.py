"""The MCP server: a running marketplace as tools of an assistant (docs/mcp.md)."""
