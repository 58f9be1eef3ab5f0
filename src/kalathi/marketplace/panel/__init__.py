"""The pages that people look at: the shop's and the operator's, on Jinja, with plain forms that need no script."""
