"""The chapters of the audit: each a function of the audit document."""
