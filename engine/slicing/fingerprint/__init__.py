"""What a function depends on, as one digest that changes when the answer may.

May import: the other files of slicing, and the ground floor.
Start reading: `identity.fingerprint`, then `described` there, a walk over what a function reaches.
`functions`, `classes`, `modules` and `parts` describe what it meets, `changes` what changes.
"""
