"""Who is signed in: sessions, links for the operator, and the open console."""
