"""The real pipeline tried out: explaining a body, measuring speed. No part of the service."""
