"""People: the users of the pages, their roles, invitations, and the history of their actions."""
