"""
Documents: what a customer, its accountant and its spreadsheet are given of an invoice.

    paper      an invoice or a credit note with what is known beside it
    words      amounts, days and foreign text as people read them
    sheet      paper -> the printed page as plain text in its places; PDF and HTML only lay it out
    nets       lines and discounts without the taxes that are in the prices
    einvoice   paper -> the terms of EN 16931, or what is missing for them
    cii, ubl   those terms in the two syntaxes of the standard
    facturx    a PDF that says which XML is attached to it
    tables     rows as CSV that no spreadsheet executes
    exports    invoices as rows: of their lines, and of FOCUS
"""
