"""Joined-up returns: what a service may be told about the rows it sent, and how this is sealed.

`agreement` covers what councils have agreed and what follows from it, `facts` what is disclosed about a row and which
rows are still new, and `seal` the signed and encrypted file. Nothing here reads agreement or extract files: tables and
agreements are passed in.
"""
