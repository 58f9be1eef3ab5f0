"""Sources of stock: a CSV file, a database, an address, a function, or the marketplace's own warehouse.

A source counts the pieces on the shelf. It knows nothing about orders: `order_steps.py` subtracts reserved pieces
(`reservations.py`).
"""

from kalathi.merchant.stock.csv_file import CsvStock
from kalathi.merchant.stock.database import SqlStock
from kalathi.merchant.stock.live_sources import FunctionStock, HttpStock, WarehouseStock
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
