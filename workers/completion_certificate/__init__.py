"""Certificates of completion: their code, their text, and the PDF."""
