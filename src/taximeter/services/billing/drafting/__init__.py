"""From what is due to a draft: bills, their assembly, closing, what is billed ahead."""
