"""Operations: long work that answers at once and goes on by itself.

An *operation* is a piece of such work, of some *kind*, and what is known of it: how far it is, what it counted, which rows it could
not use. A *job* knows how to do the operations of one kind, in *steps*: each is one transaction, which also keeps a *checkpoint*
to go on from. A *runner* does one operation at a time; its *heartbeat* tells others that it is still at it, and an operation whose
heartbeat has stopped is taken over from its checkpoint.
"""
