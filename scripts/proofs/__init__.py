"""What ./run prove proves."""
