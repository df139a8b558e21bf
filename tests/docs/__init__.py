"""Every command and snippet of the documents, run or at least read by what would run it.

Blocks of a page run in its order, in one shell and one folder, against a real farm; a program that
cannot run here has a stand-in, and `stand_ins` lists them all with the reasons.
"""
