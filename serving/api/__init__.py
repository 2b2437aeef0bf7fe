"""The HTTP face: the app is wired here, one router a resource."""
