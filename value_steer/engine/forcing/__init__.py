"""The output once abstention has fired, where that is more than a stop token.

``scripts``  the tokens: a reasoning section is closed, a message is said
``forced``   where each request stands in its script
"""
