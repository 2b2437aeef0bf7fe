"""The shop's data: products and orders in SQLite, receipts and exports in files."""

import csv
import gzip
import hashlib
import io
import json
import os
import sqlite3
import threading
from pathlib import Path

PRODUCTS = 400
_NOUNS = ("lamp", "chair", "desk", "mug", "bag", "clock", "shelf", "rug")


class Catalogue:
    """One SQLite file; each thread has a connection of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._local = threading.local()
        (directory / "receipts").mkdir(parents=True, exist_ok=True)
        connection = self._connection()
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS products (id INTEGER PRIMARY KEY, name TEXT, price INTEGER, text TEXT)"
        )
        connection.execute(
            "CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, customer TEXT, total INTEGER, lines TEXT)"
        )
        rows = (
            (n, f"{_NOUNS[n % len(_NOUNS)]} {n}", 500 + n * 37 % 9000, f"A fine {_NOUNS[n % len(_NOUNS)]}. " * 12)
            for n in range(PRODUCTS)
        )
        connection.executemany("INSERT OR IGNORE INTO products VALUES (?, ?, ?, ?)", rows)
        connection.commit()

    def search(self, words: str) -> list[tuple[int, str, int]]:
        """Products whose text has the words."""
        query = "SELECT id, name, price FROM products WHERE text LIKE ? ORDER BY price LIMIT 30"
        return self._connection().execute(query, (f"%{words}%",)).fetchall()

    def product(self, number: int) -> tuple[int, str, int, str] | None:
        """One product."""
        return (
            self._connection().execute("SELECT id, name, price, text FROM products WHERE id = ?", (number,)).fetchone()
        )

    def order(self, customer: str, basket: list[int]) -> tuple[str, int]:
        """Keep an order; returns its key and total in cents."""
        prices = [self.product(number) for number in basket]
        total = sum(row[2] for row in prices if row)
        key = hashlib.sha256(f"{customer}{basket}".encode() + os.urandom(8)).hexdigest()[:20]
        connection = self._connection()
        connection.execute("INSERT INTO orders VALUES (?, ?, ?, ?)", (key, customer, total, json.dumps(basket)))
        connection.commit()
        return key, total

    def keep_receipt(self, key: str, receipt: dict[str, object]) -> None:
        """Write a receipt as a file."""
        signature = hashlib.pbkdf2_hmac("sha256", json.dumps(receipt).encode(), key.encode(), 2_000).hex()
        (self.directory / "receipts" / f"{key}.json").write_text(
            json.dumps(receipt | {"signature": signature}, indent=1)
        )

    def export(self, customer: str) -> bytes:
        """A customer's last orders as compressed CSV, also kept as a file and read back."""
        rows = self._connection().execute(
            "SELECT id, total, lines FROM orders WHERE customer = ? LIMIT 300", (customer,)
        )
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(("order", "total", "lines"))
        writer.writerows(rows)
        path = self.directory / f"export-{customer}-{threading.get_ident()}.csv.gz"
        path.write_bytes(gzip.compress(text.getvalue().encode(), 6))
        return path.read_bytes()

    def _connection(self) -> sqlite3.Connection:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = sqlite3.connect(self.directory / "shop.db", timeout=30)
        return connection
