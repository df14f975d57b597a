"""Editing: how items of every kind are changed by editors, with a history that can be gone back in.

* *Item*: what editors keep, such as a release, an episode, a genre; each has a version that grows with every change.
* *Revision*: an item's state after one change, with who made it, when, and why.
* *Edit*: one creation, change or deletion that is prepared but not made.
* *Change set*: edits that are prepared, previewed and published together, and taken back together.
* *Proposal*: a change set that its author hands in for review; an editor takes it, and accepts or rejects it.
"""
