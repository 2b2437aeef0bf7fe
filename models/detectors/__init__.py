"""Online detectors on River's statistics, one a file; the registry names them."""
