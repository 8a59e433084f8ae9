-- Labels of images, and when name or labels were last changed: null as long as they never were.
ALTER TABLE images
    ADD COLUMN labels JSONB NOT NULL DEFAULT '{}',
    ADD COLUMN updated_at BIGINT;

-- Images can be updated, too.
ALTER TABLE changes
    DROP CONSTRAINT changes_kind_check,
    ADD CONSTRAINT changes_kind_check CHECK (kind IN ('created', 'rendition_changed', 'updated', 'deleted'));
