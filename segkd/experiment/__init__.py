"""The typed configuration tree; the only place where rooms are joined."""
