"""One mask with all that is known of it, opened from any page."""
