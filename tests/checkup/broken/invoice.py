"""It uploads the invoice as JSON."""

from tests.checkup.model_shop import ModelShop, ShopOrder


class Broken(ModelShop):
    def upload_invoice(self, mine: ShopOrder) -> None:
        self.client.call("POST", f"/orders/{mine.code}/invoices", {"invoice_file": "JVBERi0xLjQ="})
