"""What figures share: styles, panels, rows and tables."""
