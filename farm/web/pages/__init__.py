"""The web page: HTML that the server writes."""
