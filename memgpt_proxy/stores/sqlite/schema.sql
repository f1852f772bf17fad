-- Version 1. `namespace` is the digits that stand for a namespace (see rows.py).
BEGIN IMMEDIATE;

CREATE TABLE IF NOT EXISTS namespaces (
    namespace TEXT PRIMARY KEY,
    messages INTEGER NOT NULL DEFAULT 0,
    passages INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS nodes (
    number INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    parent TEXT NOT NULL,
    depth INTEGER NOT NULL,
    role TEXT NOT NULL,
    text TEXT NOT NULL,
    entries TEXT NOT NULL,
    tokens INTEGER NOT NULL,
    created REAL NOT NULL,
    queue TEXT NOT NULL,
    context_version INTEGER NOT NULL,
    complete INTEGER NOT NULL,
    UNIQUE (namespace, id)
) STRICT;

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
    PRIMARY KEY (namespace, node)
) STRICT;

CREATE TABLE IF NOT EXISTS passages (
    number INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    text TEXT NOT NULL,
    created REAL NOT NULL,
    node TEXT NOT NULL,
    UNIQUE (namespace, id)
) STRICT;

CREATE TABLE IF NOT EXISTS contexts (
    namespace TEXT NOT NULL,
    version INTEGER NOT NULL,
    content TEXT NOT NULL,
    node TEXT NOT NULL,
    PRIMARY KEY (namespace, version)
) STRICT;

-- The indexes hold no text of their own. Their namespace column makes a search
-- intersect with one namespace's rows before anything is read or ranked.
CREATE VIEW IF NOT EXISTS messages_content AS
    SELECT number, namespace, text FROM nodes WHERE text <> '';

CREATE VIRTUAL TABLE IF NOT EXISTS messages_index USING fts5 (
    namespace, text, content = 'messages_content', content_rowid = 'number',
    tokenize = 'porter unicode61 remove_diacritics 2'
);

CREATE VIRTUAL TABLE IF NOT EXISTS passages_index USING fts5 (
    namespace, text, content = 'passages', content_rowid = 'number',
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

CREATE TRIGGER IF NOT EXISTS queue_stored AFTER INSERT ON queues BEGIN
    UPDATE nodes SET queue = id WHERE namespace = new.namespace AND id = new.node;
END;

PRAGMA user_version = 1;
COMMIT;
