"""`stanch doctor`: whether an installation is set up so that alerts arrive and what is offered can be done.

What is asked is gathered in one place; every other module here decides about what was gathered, and no more.
"""
