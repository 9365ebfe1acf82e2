"""The guide: the method in eight steps on one photo, for a class."""
