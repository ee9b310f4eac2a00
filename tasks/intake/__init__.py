"""The request, the described and hashed input, what it will take."""
