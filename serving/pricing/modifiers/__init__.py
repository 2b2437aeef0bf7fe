"""What stands between a meter and the last line of a charge: one step a file, in the order of `order`."""
