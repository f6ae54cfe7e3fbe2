"""What a function depends on, as one digest that changes when the answer may.

May import: the other files of slicing, and the ground floor.
Start reading: `identity.fingerprint`, then `description`, a walk over what a function reaches.
`parts` says what a value holds, `places` and `loading` what made a value that changes.
"""
