"""The marketplace's side: it places orders with shops, hears their answers and tells them what changes."""
