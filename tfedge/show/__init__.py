"""Draws figures for people: tables as text, HTML and Markdown, and plots."""
