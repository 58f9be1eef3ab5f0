"""What couriers do: pickup windows, tracking codes and vouchers. Knows nothing of orders."""
