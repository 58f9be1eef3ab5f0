"""Personal data: find, export and remove the data of customers, and of whole shops (docs/privacy.md)."""
