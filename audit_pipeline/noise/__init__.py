"""Noise: which events do not deserve attention, said by rules with reason, owner and end. They stay in the table, marked.

Belongs here: reading the rules (`rules`), the column `x_noise_rule` (`view`), what a rule would mark (`trial`). Not here: what
anybody does with marked events. The column is computed in the view: an edit rewrites no table and no day outside its validity.
"""
