"""The search of a shop's orders: words of orders in an index, and lists by filters."""
