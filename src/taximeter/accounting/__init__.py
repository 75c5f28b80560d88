"""
Accounting: money owed, paid and earned, in double entry (K19).

    journal      entries, postings and the accounts they are on
    entries      what happens to an invoice or a payment -> the entry that books it
    nets         an invoice's lines without discounts and taxes: what there is to earn
    recognition  when it is earned: by the local days of each line's period
    credits      prepaid credit: sold, spent, expired
    matching     which invoices a payment pays
    aging        how long what is open has been due
    dunning      when to remind
    statement    a customer's account over a span of time
    payment      payments, and what comes in by webhook

The room `ledger` beside it is about credits, in units of credit; this one is about money.
"""
