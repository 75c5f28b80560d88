"""
From what is due to an invoice, and everything that comes after it.

    terms       settings, discounts, taxes: on which terms is billed
    due         what a period is charged for, and what was counted for it
    drafting    bills and their drafts: closing, ahead of a period's end, made again
    issuing     from a draft to its end: number, prepaid credit, what is shown and told
    correcting  adjustments, late usage, rating again, credit notes, disputes
    evidence    which events are behind a line, what each cost, and that it is so
"""
