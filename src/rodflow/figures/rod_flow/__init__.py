"""Figures of Regis and Chewi 2026: rod flow and what it predicts."""
