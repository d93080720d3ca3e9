"""Meridian: a composable, asyncio-native graph runtime."""

__version__ = "2.0.0"
