"""Pictures for the browser: crops, colors, layers, and sending each picture once."""
