"""Pictures for the browser: crops, colours, drawing."""
