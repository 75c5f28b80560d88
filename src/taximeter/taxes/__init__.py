"""
Taxes: which rates apply to whom, and what they come to.

    tax_ids   what a tax id of a country looks like
    rules     where tax is collected, at which rates, from when; exemptions
    decide    customer, category and instant -> rates, or why none
    apply     discounted lines -> taxes of an invoice, once rounded per rate (K6)
    applied   a tax as an invoice shows it
"""
