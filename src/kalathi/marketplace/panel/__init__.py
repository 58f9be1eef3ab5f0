"""The HTML pages of shops and the operator, rendered with Jinja. All forms work without a script."""
