"""The only acts of a security incident; they know no other remediation, and none knows them."""
