"""The panels, one a file. A panel sets its widgets from what the controller has; it reads nothing out of them."""
