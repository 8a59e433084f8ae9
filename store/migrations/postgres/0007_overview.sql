-- What administrators see of everything, without a scan of everything.

-- Kept like used_bytes, by the same transactions in the same row: images, the bytes of their originals (the rest of used_bytes is that of
-- renditions), and renditions that are ready. What is not ready is counted in the partial indexes below.
ALTER TABLE users
    ADD COLUMN image_count BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN original_bytes BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN ready_count BIGINT NOT NULL DEFAULT 0;

UPDATE users SET
    image_count = (SELECT count(*) FROM images WHERE owner_id = users.id),
    original_bytes = (
        SELECT coalesce(sum(b.size_bytes), 0)::BIGINT FROM images i JOIN blobs b ON b.key = i.original_key WHERE i.owner_id = users.id),
    ready_count = (SELECT count(*) FROM images i JOIN renditions r ON r.image_id = i.id WHERE i.owner_id = users.id AND r.state = 'ready');

-- With due_at, since when each of them waits.
DROP INDEX renditions_pending;
CREATE INDEX renditions_pending ON renditions (told_at, id, due_at) WHERE state = 'pending';
-- In the order in which failures are listed.
CREATE INDEX renditions_failed ON renditions (finished_at, id, failure_reason) WHERE state = 'failed';

-- Size and SHA-256 of a blob also stand in the one row that names it: blobs never change, and a list would have to look for each among all
-- blobs, by a random key.
ALTER TABLE images
    ADD COLUMN size_bytes BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN sha256 BYTEA NOT NULL DEFAULT '';
ALTER TABLE renditions
    ADD COLUMN output_size_bytes BIGINT, -- ready
    ADD COLUMN output_sha256 BYTEA; -- ready
UPDATE images SET size_bytes = b.size_bytes, sha256 = b.sha256 FROM blobs b WHERE b.key = images.original_key;
UPDATE renditions SET output_size_bytes = b.size_bytes, output_sha256 = b.sha256 FROM blobs b WHERE b.key = renditions.output_key;
ALTER TABLE images ALTER COLUMN size_bytes DROP DEFAULT, ALTER COLUMN sha256 DROP DEFAULT;

-- With created_at, so that images of other times are passed over without a look at them.
DROP INDEX images_owner;
CREATE INDEX images_owner ON images (owner_id, id, created_at);
