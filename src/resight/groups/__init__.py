"""Groups of crops, one an identity, without knowing how many there are: `resight group`.

`settings` says what to compare and how far, `links` what is known, `linkage` merges, `places` says how sure each crop
is of its place, `review` what a person should look at first; `table`, `rows`, `tree` and `running` are the command.
"""
