"""Pictures for the browser: crops of masks, and sending each picture once."""
