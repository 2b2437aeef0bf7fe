"""From usage to the bill to come: forecasts, sample futures, prices on them, and past estimates."""
