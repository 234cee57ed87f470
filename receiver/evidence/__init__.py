"""Evidence of a security incident: read before anything is isolated, written once, held to its manifest."""
