"""What comes after an invoice: adjustments, late usage, rating again, credit notes, disputes."""
