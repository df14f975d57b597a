"""Catalog: what there is to watch.

release      one title: a season of a series, a film, a special. Has an id, and an alias that reads well in a URL.
franchise    releases that belong together, in an order of their own.
genre        a short word releases are sorted by; its id is the word.
weekly slot  when a new episode airs each week, in the broadcaster's zone.
episode      one part of a release; it may be known long before it can be watched. Its number is a label, its position the order.
airing       when an episode is broadcast: known from a schedule entry, or expected by the weekly slot.
publication  whether viewers see a release: draft, published, withdrawn.
redirect     a rule that an episode which people count as one of this title is one of another, or goes by another number.
version      grows with every change, so that two editors do not overwrite each other unseen.
change       an entry of the change feed, which says that a release is different now, not how.
"""
