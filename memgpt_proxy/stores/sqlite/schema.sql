-- Version 4. `namespace` is the digits that stand for a namespace (see rows.py). Over a database of
-- version 3 it adds what is new: traces.
BEGIN IMMEDIATE;

CREATE TABLE IF NOT EXISTS namespaces (
    namespace TEXT PRIMARY KEY,
    messages INTEGER NOT NULL DEFAULT 0,
    passages INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- The texts come last: SQLite reads a row from its start, and long ones page by page.
CREATE TABLE IF NOT EXISTS nodes (
    number INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    key TEXT NOT NULL, -- empty where it is the id
    content TEXT NOT NULL,
    parent TEXT NOT NULL,
    depth INTEGER NOT NULL,
    role TEXT NOT NULL,
    tokens INTEGER NOT NULL,
    created REAL NOT NULL,
    queue TEXT NOT NULL,
    context_version INTEGER NOT NULL,
    turn TEXT NOT NULL,
    complete INTEGER NOT NULL,
    abandoned INTEGER NOT NULL DEFAULT 0,
    text TEXT NOT NULL,
    entries TEXT NOT NULL,
    UNIQUE (namespace, id)
) STRICT;

CREATE INDEX IF NOT EXISTS nodes_by_key ON nodes (namespace, key, created) WHERE key <> '';

CREATE INDEX IF NOT EXISTS nodes_by_content ON nodes (namespace, content, created);

CREATE INDEX IF NOT EXISTS nodes_by_parent ON nodes (namespace, parent, created);

CREATE INDEX IF NOT EXISTS messages_by_time
    ON nodes (namespace, created DESC, depth DESC, id) WHERE text <> '';

CREATE TABLE IF NOT EXISTS queues (
    namespace TEXT NOT NULL,
    node TEXT NOT NULL,
    start INTEGER NOT NULL,
    summary TEXT NOT NULL,
    context_version INTEGER NOT NULL,
    context TEXT NOT NULL,
    messages INTEGER NOT NULL,
    passages INTEGER NOT NULL,
    created REAL NOT NULL, -- when its turn's record was made
    PRIMARY KEY (namespace, node)
) STRICT;

CREATE TABLE IF NOT EXISTS passages (
    number INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    text TEXT NOT NULL,
    created REAL NOT NULL,
    node TEXT NOT NULL,
    turn TEXT NOT NULL,
    hidden INTEGER NOT NULL DEFAULT 0,
    UNIQUE (namespace, id)
) STRICT;

CREATE INDEX IF NOT EXISTS passages_by_time
    ON passages (namespace, created DESC, id) WHERE NOT hidden;

CREATE INDEX IF NOT EXISTS passages_by_turn ON passages (namespace, turn) WHERE turn <> '';

CREATE TABLE IF NOT EXISTS contexts (
    namespace TEXT NOT NULL,
    version INTEGER NOT NULL,
    content TEXT NOT NULL,
    node TEXT NOT NULL,
    turn TEXT NOT NULL,
    PRIMARY KEY (namespace, version)
) STRICT;

CREATE INDEX IF NOT EXISTS contexts_by_turn ON contexts (namespace, turn) WHERE turn <> '';

CREATE TABLE IF NOT EXISTS conversations (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    tip TEXT NOT NULL,
    resends INTEGER NOT NULL,
    created REAL NOT NULL, -- when its turn's record was made
    PRIMARY KEY (namespace, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS traces (
    namespace TEXT NOT NULL,
    created REAL NOT NULL,
    turn TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (namespace, created, turn)
) STRICT;

-- The indexes hold no text of their own. Their namespace column makes a search
-- intersect with one namespace's rows before anything is read or ranked.
CREATE VIEW IF NOT EXISTS messages_content AS
    SELECT number, namespace, text FROM nodes WHERE text <> '';

CREATE VIRTUAL TABLE IF NOT EXISTS messages_index USING fts5 (
    namespace, text, content = 'messages_content', content_rowid = 'number',
    tokenize = 'porter unicode61 remove_diacritics 2'
);

CREATE VIEW IF NOT EXISTS passages_content AS
    SELECT number, namespace, text FROM passages WHERE NOT hidden;

CREATE VIRTUAL TABLE IF NOT EXISTS passages_index USING fts5 (
    namespace, text, content = 'passages_content', content_rowid = 'number',
    tokenize = 'porter unicode61 remove_diacritics 2'
);

CREATE TRIGGER IF NOT EXISTS message_stored AFTER INSERT ON nodes WHEN new.text <> '' BEGIN
    INSERT INTO messages_index (rowid, namespace, text)
        VALUES (new.number, new.namespace, new.text);
    INSERT INTO namespaces (namespace, messages) VALUES (new.namespace, 1)
        ON CONFLICT (namespace) DO UPDATE SET messages = messages + 1;
END;

CREATE TRIGGER IF NOT EXISTS passage_stored AFTER INSERT ON passages BEGIN
    INSERT INTO passages_index (rowid, namespace, text)
        VALUES (new.number, new.namespace, new.text);
    INSERT INTO namespaces (namespace, passages) VALUES (new.namespace, 1)
        ON CONFLICT (namespace) DO UPDATE SET passages = passages + 1;
END;

CREATE TRIGGER IF NOT EXISTS passage_hidden AFTER UPDATE OF hidden ON passages
WHEN new.hidden > old.hidden BEGIN
    INSERT INTO passages_index (passages_index, rowid, namespace, text)
        VALUES ('delete', old.number, old.namespace, old.text);
    UPDATE namespaces SET passages = passages - 1 WHERE namespace = old.namespace;
END;

CREATE TRIGGER IF NOT EXISTS passage_shown AFTER UPDATE OF hidden ON passages
WHEN new.hidden < old.hidden BEGIN
    INSERT INTO passages_index (rowid, namespace, text)
        VALUES (new.number, new.namespace, new.text);
    UPDATE namespaces SET passages = passages + 1 WHERE namespace = new.namespace;
END;

CREATE TRIGGER IF NOT EXISTS queue_stored AFTER INSERT ON queues BEGIN
    UPDATE nodes SET queue = id WHERE namespace = new.namespace AND id = new.node;
END;

CREATE TRIGGER IF NOT EXISTS queue_replaced AFTER UPDATE ON queues BEGIN
    UPDATE nodes SET queue = id WHERE namespace = new.namespace AND id = new.node;
END;

PRAGMA user_version = 4;
COMMIT;
