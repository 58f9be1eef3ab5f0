"""Signing in: sessions, sign-in links for the operator, and the open console."""
