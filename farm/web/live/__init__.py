"""What changes on a page, told to every browser that looks at it."""
