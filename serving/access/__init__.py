"""Who may do what: keys, scopes, tenants, sessions and the record of administrative acts."""
