"""The parts that the API and the pages share: context, bodies, forms, uploads, limits and answers."""
