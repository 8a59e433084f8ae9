-- Quotas and deletion of users; expiry, scopes and labels of tokens.

-- used_bytes is the sum of the sizes of the user's originals and ready renditions, kept by every transaction that changes that sum.
-- A user with a deleted_at is gone for everybody; the row waits until all images are removed, under a name that nobody can ask for.
ALTER TABLE users ADD COLUMN quota_bytes INTEGER NOT NULL DEFAULT 10737418240 CONSTRAINT users_quota_bytes_check CHECK (quota_bytes >= 0);
ALTER TABLE users ADD COLUMN used_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN deleted_at INTEGER;
CREATE INDEX users_deleted ON users (id) WHERE deleted_at IS NOT NULL;

UPDATE users SET used_bytes =
    (SELECT coalesce(sum(b.size_bytes), 0) FROM images i JOIN blobs b ON b.key = i.original_key WHERE i.owner_id = users.id)
    + (SELECT coalesce(sum(b.size_bytes), 0) FROM images i JOIN renditions r ON r.image_id = i.id JOIN blobs b ON b.key = r.output_key
       WHERE i.owner_id = users.id);

ALTER TABLE tokens ADD COLUMN label TEXT NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN scopes TEXT NOT NULL DEFAULT ''; -- names, separated by commas; none: all that the user may do
ALTER TABLE tokens ADD COLUMN expires_at INTEGER;
CREATE INDEX tokens_expiring ON tokens (expires_at) WHERE expires_at IS NOT NULL;
