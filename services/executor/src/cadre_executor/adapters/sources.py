"""Texts of workflow files, each kept once."""

import hashlib

import sqlalchemy as sa

from cadre_executor.adapters.database import SOURCES

__all__ = ["digest_of", "keep_source"]


def digest_of(text: str) -> str:
    """What a text is found by."""
    return hashlib.sha256(text.encode()).hexdigest()


def keep_source(connection: sa.Connection, text: str) -> str:
    """Stores the text unless it is there; its digest."""
    digest = digest_of(text)
    known = connection.execute(sa.select(SOURCES.c.digest).where(SOURCES.c.digest == digest))
    if known.first() is None:
        connection.execute(sa.insert(SOURCES), {"digest": digest, "text": text})
    return digest
