"""On which terms is billed: settings, discounts, taxes."""
