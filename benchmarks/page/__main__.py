"""Write the page anew from the results that are there: ``python -m benchmarks.page``."""

from benchmarks.page.document import DOCS, write

if __name__ == "__main__":
    write(DOCS)
