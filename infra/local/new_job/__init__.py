"""`millrace new-job`: the files of a new job, and the lines that list them, written together or not at all."""
