"""The way to the source, as far as HTTP is concerned: one exchange, bounded, never repeated."""

from workers.source.transport.exchange import MOST_BYTES, Transport

__all__ = ["MOST_BYTES", "Transport"]
