"""Joined-up returns: what one service may be told about the rows that it sent, and how that is sealed.

`agreement` is what councils have agreed to and what follows from it, `facts` what is told of a row, `seal` the signed
and encrypted file, `disclosures` the record of every return. Nothing here reads a file of an agreement or an extract:
tables and agreements are handed in.
"""
