"""What a bundle is rewritten into for programs that are not Python: tokenizers and answers described so that a port in
another language needs no table of its platform."""
