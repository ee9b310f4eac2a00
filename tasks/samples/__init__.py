"""Sample and generated scenes for the demo."""
