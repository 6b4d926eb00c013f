"""What is counted in every document, in compiled passes over its UTF-8 bytes."""
