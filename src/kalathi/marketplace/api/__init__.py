"""HTTP: one route table for the merchants' API and the operator's API. Errors get their status in web/reply.py."""
