-- One row: the mark of the secret under which the first of these memories was kept.
CREATE TABLE IF NOT EXISTS secret_mark (
    number INTEGER PRIMARY KEY CHECK (number = 0),
    mark TEXT NOT NULL
) STRICT;
