"""Files that customers upload: pictures in several sizes, and the text of documents."""
