-- Times are microseconds since the Unix epoch; ids are text in their printed form.

CREATE TABLE accounts (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    primary_key   TEXT NOT NULL,
    secondary_key TEXT NOT NULL,
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE signing_keys (
    id         TEXT PRIMARY KEY,
    pkcs8      BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    account           TEXT NOT NULL,
    id                TEXT NOT NULL,
    -- Creation order over all accounts; pages of lists begin after one.
    seq               INTEGER NOT NULL UNIQUE,
    creation_time     TEXT NOT NULL,
    size              TEXT NOT NULL,
    requested_minutes INTEGER NOT NULL,
    model             TEXT,
    status            TEXT NOT NULL,
    lease_minutes     INTEGER NOT NULL,
    ready_at          INTEGER,
    ended_at          INTEGER,
    -- JSON of the API's error object.
    error             TEXT,
    -- The host that serves it, so that it can come back after a restart of the control plane.
    host              TEXT,
    host_secret_hash  BLOB,
    host_pid          INTEGER,
    -- Start time in the kernel's ticks: with the pid it names a process for good.
    host_birth        INTEGER,
    PRIMARY KEY (account, id)
) STRICT;

CREATE INDEX sessions_live ON sessions (seq) WHERE ended_at IS NULL;
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL;
