-- What Belvedere 0.1.0 left when it was killed: two live sessions, one Starting, and one of each end. The keys were
-- made for this file and open nothing. Released files never change; each new version adds one.
BEGIN TRANSACTION;
CREATE TABLE _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
);
INSERT INTO "_sqlx_migrations" VALUES(1,'first','2026-11-22 03:19:16',1,X'1B91A5AD7A0B73A9BF2C25F4125416A121E648BEDBF8697C6CC92EE00F5CD4EAC8E1BFB4BBC3C0470B60E0D2E0354771',7497957);
CREATE TABLE accounts (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    primary_key   TEXT NOT NULL,
    secondary_key TEXT NOT NULL,
    created_at    INTEGER NOT NULL
) STRICT;
INSERT INTO "accounts" VALUES('caa4c738-80bd-4a3c-9383-91212c4b71e3','default','9QOz4VUR3gwcDYrFrK+DYjNZ6I209KXI9eHDWjStAcM=','NqI7t3i/AivmvvUfWGE3AMt6UYuvJuJNiYitWDPOjYM=',1795317556133111);
INSERT INTO "accounts" VALUES('a4588fd5-c524-42b5-920a-cccd4f5b00c1','second','gEoe06aQDQQFWrHXyyvPlOWM36EhspOwrUqrHYz/zHI=','S4SM8f6XW4gFnNicp3QJqPQU8n+xot3lpVmg7xBT+3I=',1795317560308648);
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
INSERT INTO "sessions" VALUES('caa4c738-80bd-4a3c-9383-91212c4b71e3','ready',1,'2026-11-22T03:19:16.8142418+00:00','Standard',30,NULL,'Ready',30,1795317556857374,NULL,NULL,'e89fd8eb-95ee-42ac-ae36-29e200b891cd',X'CB1D2CDE93798938A6BB83FF22045F87221C32F4C50D7959A74F27369C8E48AC',3638,1360831);
INSERT INTO "sessions" VALUES('caa4c738-80bd-4a3c-9383-91212c4b71e3','extended',2,'2026-11-22T03:19:17.4863901+00:00','Standard',10,NULL,'Ready',1440,1795317557504444,NULL,NULL,'d691b200-f68d-4ffe-95ae-10cc34b3cec5',X'94F639DE8FACAFE7726913A3C2EE835519869FA0B23ACB697020C7629BDE162E',3682,1360893);
INSERT INTO "sessions" VALUES('caa4c738-80bd-4a3c-9383-91212c4b71e3','stopped',3,'2026-11-22T03:19:18.4482642+00:00','Standard',5,NULL,'Stopped',5,1795317558525308,1795317559192782,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "sessions" VALUES('caa4c738-80bd-4a3c-9383-91212c4b71e3','expired',4,'2026-11-22T03:19:19.7173334+00:00','Standard',0,NULL,'Expired',0,1795317559718452,1795317559718473,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "sessions" VALUES('caa4c738-80bd-4a3c-9383-91212c4b71e3','lost',5,'2026-11-22T03:19:20.0024425+00:00','Standard',7,NULL,'Error',7,1795317560108545,1795317584144926,'{"code":"HostLost","message":"The session''s host was killed by signal 9."}',NULL,NULL,NULL,NULL);
INSERT INTO "sessions" VALUES('caa4c738-80bd-4a3c-9383-91212c4b71e3','starting',6,'2026-11-22T03:19:45.2484369+00:00','Standard',15,NULL,'Starting',15,NULL,NULL,NULL,'a9aa66b1-3c93-46cf-87de-24de7b4131c6',X'C96970AD4E34A98C4D1C07DC25B2E8CEA7A6CFA42078F7796C2BF5B5A689BC8C',3835,1361217);
CREATE TABLE signing_keys (
    id         TEXT PRIMARY KEY,
    pkcs8      BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
INSERT INTO "signing_keys" VALUES('7c079d98724c49868e8e4185b3e8e337',X'308187020100301306072A8648CE3D020106082A8648CE3D030107046D306B0201010420687D9C8F2632B7A2991AC9B6B36B3B55EA9589EFB0C9A5C0437ED84AFC77354CA144034200048A9F77307ED249C38D446C398A16D13C5797E7DE27E575FE5C248B71002DE10DD62CC741C26EFE17FF6AB1C826A0A3C60BEA4BC07F27057EBA33AA3DC1171712',1795317556133725);
CREATE INDEX sessions_live ON sessions (seq) WHERE ended_at IS NULL;
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL;
COMMIT;