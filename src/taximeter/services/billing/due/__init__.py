"""What is due: the charges of a period, their prices, and what was counted for them."""
