"""Components that several pages use: a module, a script and a style of one name; ``_register`` joins them."""
