"""Groups of crops, one an identity, without knowing how many there are: `resight group`.

`settings` says what to compare and how far, `links` what is known, `linkage` merges, `places` says how sure each crop
is of its place, `review` what a person should look at first. `opening` lays DATA, gallery and earlier result together;
`rows`, `table`, `saved`, `tree` and `running` are the command.
"""
