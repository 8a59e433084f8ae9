-- Files that are to come by a signed URL. An open one counts with its announced size toward the quota; a closed one was finished or refused,
-- and only says that nothing more may come by its URL.
CREATE TABLE upload_links (
    id TEXT NOT NULL, -- by which its URL names it
    owner_id INTEGER NOT NULL,
    upload_id TEXT NOT NULL,
    file_name TEXT NOT NULL,
    labels TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    direct INTEGER NOT NULL, -- the URL leads to the blob store itself
    key TEXT, -- of the bytes: where they are to come if direct, else where they are once all of them came
    expires_at INTEGER NOT NULL,
    closed INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT upload_links_pkey PRIMARY KEY (id),
    CONSTRAINT upload_links_key_key UNIQUE (key),
    CONSTRAINT upload_links_size_bytes_check CHECK (size_bytes >= 1),
    CONSTRAINT upload_links_sha256_check CHECK (octet_length(sha256) = 32),
    CONSTRAINT upload_links_direct_check CHECK (direct IN (0, 1)),
    CONSTRAINT upload_links_closed_check CHECK (closed IN (0, 1)),
    CONSTRAINT upload_links_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES users (id)
) STRICT;
CREATE UNIQUE INDEX upload_links_open ON upload_links (owner_id, upload_id) WHERE NOT closed;
CREATE INDEX upload_links_expires ON upload_links (expires_at);

-- With which the links that lead to servers are signed, for all servers the same.
CREATE TABLE link_keys (
    id INTEGER NOT NULL, -- the day, from 1970, on which it signs
    secret BLOB NOT NULL,
    expires_at INTEGER NOT NULL, -- no link that it signed is good any more
    CONSTRAINT link_keys_pkey PRIMARY KEY (id),
    CONSTRAINT link_keys_secret_check CHECK (octet_length(secret) = 32)
) STRICT;
CREATE INDEX link_keys_expires ON link_keys (expires_at);
