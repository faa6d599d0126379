"""Where files of strangers are decoded: a process of its own for each, with bounds on all that it may use.

`python -m app.files.sandbox REQUEST` reads the file on its standard input, and writes what came of it to its
standard output. It has no credentials, no network to speak to, no file of its own to leave behind. Nothing else imports
these modules: libraries that decode are loaded there and nowhere else.
"""
