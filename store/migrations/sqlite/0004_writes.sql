-- Writes to the blob store that leave something there before they are finished. A row is written before the store is told of it and removed when
-- the blob is published or given up: what is left after a crash can be found and removed.
CREATE TABLE writes (
    key TEXT NOT NULL,
    multipart_id TEXT, -- the store's own name for it; null until it has told
    begun_at INTEGER NOT NULL,
    CONSTRAINT writes_pkey PRIMARY KEY (key)
) STRICT;
CREATE INDEX writes_begun ON writes (begun_at);
