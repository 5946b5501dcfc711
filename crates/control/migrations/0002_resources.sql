-- Accounts that the management API made, as the resources that it shows; those of the command line have no row here.
-- Names are compared without regard to letter case, as Azure Resource Manager does.
CREATE TABLE resources (
    account        TEXT PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    subscription   TEXT NOT NULL COLLATE NOCASE,
    resource_group TEXT NOT NULL COLLATE NOCASE,
    name           TEXT NOT NULL COLLATE NOCASE,
    location       TEXT NOT NULL,
    -- JSON object of strings.
    tags           TEXT NOT NULL,
    UNIQUE (subscription, name)
) STRICT;

-- Accounts that were deleted, for as long as access tokens of them may be about.
CREATE TABLE closed_accounts (
    id        TEXT PRIMARY KEY,
    closed_at INTEGER NOT NULL
) STRICT;
