-- Writes to the blob store that have left something there and are not finished. A row is written before the first bytes are sent and removed
-- when they are published or given up: what is left after a crash can be found and removed.
CREATE TABLE writes (
    key TEXT NOT NULL,
    multipart_id TEXT NOT NULL, -- the store's own name for it
    begun_at INTEGER NOT NULL,
    CONSTRAINT writes_pkey PRIMARY KEY (key)
) STRICT;
CREATE INDEX writes_begun ON writes (begun_at);
