-- Objects of the manifests folder: what must survive a restart and is in no file.
CREATE TABLE objects (
    uid         TEXT PRIMARY KEY,
    kind        TEXT NOT NULL,
    namespace   TEXT NOT NULL,
    name        TEXT NOT NULL,
    generation  INTEGER NOT NULL,
    created_at  TEXT NOT NULL,
    -- The last good manifest as written, JSON; NULL when there never was one.
    manifest    TEXT,
    -- Where the newest edit stands: path below the folder, and line.
    file        TEXT NOT NULL,
    line        INTEGER NOT NULL,
    -- Where the last good manifest stood; NULL when there never was one.
    good_file   TEXT,
    good_line   INTEGER,
    -- Problems of the newest edit, JSON; NULL when it is good.
    rejected    TEXT,
    status      TEXT,
    -- Since when no file defines it; NULL while one does.
    vanished_at TEXT
) STRICT;

-- One living object a name; those that vanished keep theirs until they are forgotten.
CREATE UNIQUE INDEX objects_living ON objects (kind, namespace, name) WHERE vanished_at IS NULL;
CREATE INDEX objects_by_name ON objects (kind, namespace, name);

-- Objects that are created through the store.
CREATE TABLE runs (
    uid         TEXT PRIMARY KEY,
    kind        TEXT NOT NULL,
    namespace   TEXT NOT NULL,
    name        TEXT NOT NULL,
    generation  INTEGER NOT NULL,
    created_at  TEXT NOT NULL,
    object      TEXT NOT NULL,
    status      TEXT,
    UNIQUE (kind, namespace, name)
) STRICT;

CREATE TABLE notices (
    id          INTEGER PRIMARY KEY,
    kind        TEXT NOT NULL,
    namespace   TEXT NOT NULL,
    name        TEXT NOT NULL,
    uid         TEXT NOT NULL,
    type        TEXT NOT NULL CHECK (type IN ('Normal', 'Warning')),
    reason      TEXT NOT NULL,
    message     TEXT NOT NULL,
    count       INTEGER NOT NULL,
    first_at    TEXT NOT NULL,
    last_at     TEXT NOT NULL,
    UNIQUE (kind, namespace, name, uid, type, reason, message)
) STRICT;

CREATE INDEX notices_last ON notices (last_at);

-- Single values: `folder` is the manifests folder served last.
CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
