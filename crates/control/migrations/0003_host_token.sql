-- The one-time token of a host that may not have got its secret yet: it opens the next link, too.
ALTER TABLE sessions ADD COLUMN host_token_hash BLOB;
