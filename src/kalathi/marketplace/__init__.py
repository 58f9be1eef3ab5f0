"""The marketplace's side: it places orders with shops, takes their answers and announces changes."""
