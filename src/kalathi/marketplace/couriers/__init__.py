"""The couriers' side: pickup windows, tracking codes and vouchers. Knows nothing of orders."""
