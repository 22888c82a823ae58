"""Did it work? The time before and after a remediation or a release, compared.

Belongs here: windows, the model, its cross-checks, the verdict. Not here: who decided what (`findings`), how it is told (`reports`).
"""
