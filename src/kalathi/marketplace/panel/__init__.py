"""The pages for people: the shop's and the operator's, with Jinja, and with plain forms that need no script."""
