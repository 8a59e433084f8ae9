-- Uploads that are not finished and can be resumed, once something of them is durable. A finished one stands in requests, under the same name.
CREATE TABLE uploads (
    owner_id INTEGER NOT NULL,
    upload_id TEXT NOT NULL,
    hold INTEGER NOT NULL, -- of the latest stream that took it; grows, and earlier ones cannot change the row any more
    key TEXT NOT NULL, -- of the blob that is going to be, and what the blob store needs to find its beginning again
    place TEXT NOT NULL,
    size_bytes INTEGER NOT NULL, -- durable
    block_crc32c BLOB NOT NULL,
    updated_at INTEGER NOT NULL,
    CONSTRAINT uploads_pkey PRIMARY KEY (owner_id, upload_id),
    CONSTRAINT uploads_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES users (id)
) STRICT;
CREATE INDEX uploads_updated ON uploads (updated_at);
CREATE INDEX uploads_key ON uploads (key);

-- The sum of the sizes of a user's uploads, kept by the transactions that change them.
ALTER TABLE users ADD COLUMN unfinished_bytes INTEGER NOT NULL DEFAULT 0;
