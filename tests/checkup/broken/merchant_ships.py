"""It sends the name of the courier instead of its code."""

from tests.checkup.model_shop import ModelShop, ShopOrder


class Broken(ModelShop):
    def send_tracking(self, mine: ShopOrder) -> None:
        details = {"tracking_details": [{"courier": "ACS Courier", "tracking_code": "224085551"}]}
        self.client.call("POST", f"/orders/{mine.code}/tracking_details", details)
