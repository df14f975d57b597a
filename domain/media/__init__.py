"""Media: what is played, and what is shown around it.

file         something an editor uploaded, checked by its content: a poster, subtitles, a preview sheet, a banner. Never changes.
attachment   a file's place at a release or an episode.
thumbnail    an image in another width, made by the worker.
storage      where files are kept: a folder of this machine, or a store that speaks S3.
promo        a picture or an ad tag that is shown for a time, at a place, in some regions.
action       what a viewer did with a promo: was shown it, clicked it; counted once by an id that the client chose.
"""
