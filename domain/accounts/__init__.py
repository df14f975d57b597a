"""Accounts: who people are, how they prove it, and what they may do.

An *account* is one person or household: an e-mail address, a role, and the ways in which it signs in. A *profile* is one
of its viewers; it is *limited* when it may see or play less than the account, and a *grant* opens one title to it for a
time. A *session* is an account signed in on one device; it holds a *refresh token*, with which it gets the next *access
token* every few minutes. A *sign-in* is proving step by step who one is: each answer leads to the next *challenge*, or to
a session. A *factor* is one way to meet a challenge. A *team* is a group of people who translate or voice together, with
roles of its own. An *export* is everything that is kept of an account, for its owner to take away, with a proof or by *links*
that are good for some minutes. An account that is *deleted* by its owner is *erased* once the time for second thoughts is over.
"""
