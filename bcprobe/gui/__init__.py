"""What the user sees: layouts, widgets and pixels."""
