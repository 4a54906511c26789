"""``/trace``: a flame graph of what the server spends its time on, for administrators."""
