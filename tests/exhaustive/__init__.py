"""Tests with very many cases: variants of the recorded bodies, generated requests, thousands of races."""
