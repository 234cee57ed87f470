"""What a terminal shows of incidents and plans, for the command line and the demo: cards, sentences, tables.

Pure over the API's documents; every text that came from elsewhere is made harmless first.
"""
