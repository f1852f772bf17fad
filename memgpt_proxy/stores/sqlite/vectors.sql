-- What search by meaning needs. It is derived from the texts, so it has no version of its own:
-- what is missing is made, and filled in the background.
BEGIN IMMEDIATE;

CREATE TABLE IF NOT EXISTS spaces (
    number INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    dimensions INTEGER NOT NULL,
    UNIQUE (model, dimensions)
) STRICT;

-- A number is that of the node or passage; a vector is float32, little-endian, of length 1,
-- and NULL where the model did not take the text.
CREATE TABLE IF NOT EXISTS nodes_vectors (
    number INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    space INTEGER NOT NULL,
    vector BLOB
) STRICT;

CREATE INDEX IF NOT EXISTS nodes_vectors_by_namespace
    ON nodes_vectors (namespace, space) WHERE vector IS NOT NULL;

CREATE TABLE IF NOT EXISTS passages_vectors (
    number INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    space INTEGER NOT NULL,
    vector BLOB
) STRICT;

CREATE INDEX IF NOT EXISTS passages_vectors_by_namespace
    ON passages_vectors (namespace, space) WHERE vector IS NOT NULL;

-- Few are: the nearest are found among all vectors, and these then left out or put last.
CREATE INDEX IF NOT EXISTS abandoned_messages ON nodes (namespace) WHERE abandoned;

CREATE INDEX IF NOT EXISTS hidden_passages ON passages (namespace) WHERE hidden;

CREATE TRIGGER IF NOT EXISTS node_deleted AFTER DELETE ON nodes BEGIN
    DELETE FROM nodes_vectors WHERE number = old.number;
END;

CREATE TRIGGER IF NOT EXISTS passage_deleted AFTER DELETE ON passages BEGIN
    DELETE FROM passages_vectors WHERE number = old.number;
END;

COMMIT;
