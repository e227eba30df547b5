"""Runs the Swift sources of a package as Python: there is no Swift compiler where these tests run, and a parse alone would not tell
whether a line computes what it should.

A source is parsed by tree-sitter's grammar and written out as Python, statement by statement. Only what the package's sources use is
known: an unknown construct, name or method is an error. Types are not checked.
"""
