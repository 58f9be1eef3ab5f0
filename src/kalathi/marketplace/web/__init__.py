"""What the API and the pages both stand on: the context, bodies, forms, uploads, limits and answers."""
