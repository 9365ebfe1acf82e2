"""Parts of pages with a script of their own."""
