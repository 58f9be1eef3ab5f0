"""Sources of stock: a CSV file, a database, an address, a function, or the marketplace's own warehouse.

A source says what lies on the shelf. It knows nothing of orders: pieces that are reserved are subtracted by the order's
steps (`reservations.py`).
"""

from kalathi.merchant.stock.asked import FunctionStock, HttpStock, WarehouseStock
from kalathi.merchant.stock.csv_file import CsvStock
from kalathi.merchant.stock.database import SqlStock
from kalathi.merchant.stock.quantities import DecimalSign
from kalathi.merchant.stock.shelf import Shelf, Stock, StockError, StockSetupError

__all__ = [
    "CsvStock",
    "DecimalSign",
    "FunctionStock",
    "HttpStock",
    "Shelf",
    "SqlStock",
    "Stock",
    "StockError",
    "StockSetupError",
    "WarehouseStock",
]
