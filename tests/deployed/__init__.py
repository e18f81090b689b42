"""The deployment in containers, done as the page says and then attacked."""
