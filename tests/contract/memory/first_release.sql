-- A database as the first release left it, with one value stored three times.
CREATE TABLE item (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    version INTEGER NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    expires INTEGER,
    UNIQUE (namespace, key)
);
CREATE INDEX item_expires ON item (expires) WHERE expires IS NOT NULL;
CREATE VIRTUAL TABLE word USING fts5 (
    scopes, key, body, tokenize = 'porter unicode61 remove_diacritics 2'
);
INSERT INTO word (word, rank) VALUES ('rank', 'bm25(0.0, 0.5, 1.0)');
CREATE TABLE vector (
    namespace TEXT NOT NULL,
    item_id INTEGER NOT NULL,
    expires INTEGER,
    embedding BLOB NOT NULL,
    PRIMARY KEY (namespace, item_id)
) WITHOUT ROWID;
CREATE TABLE change (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    item_id INTEGER NOT NULL,
    namespace TEXT NOT NULL
);
CREATE TABLE answer (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    idempotency_key TEXT NOT NULL UNIQUE,
    digest BLOB NOT NULL,
    content TEXT NOT NULL,
    made INTEGER NOT NULL
);
CREATE INDEX answer_made ON answer (made);
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
INSERT INTO alembic_version VALUES ('0001');
INSERT INTO item VALUES (1, 'p' || char(31) || '', 'k', '"Ada moved to Berlin"', 3, 1767225600000000, 1767225600000000, NULL);
INSERT INTO change VALUES (1, 1, 'p' || char(31) || '');
INSERT INTO change VALUES (2, 1, 'p' || char(31) || '');
INSERT INTO change VALUES (3, 1, 'p' || char(31) || '');
INSERT INTO answer VALUES (1, 'once', x'42efe350778a37a150afcb5704664b82702e516ee7bb6277e8bdac660e158ea1', '[3, 1767225600000000, 1767225600000000, null]', 1767225600000000);
