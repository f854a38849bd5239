"""The report page: reading run folders, comparing them, drawing and setting them as one HTML file."""
