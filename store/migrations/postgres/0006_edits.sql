-- Labels of images, and when name or labels were last changed: null as long as they never were.
ALTER TABLE images
    ADD COLUMN labels JSONB NOT NULL DEFAULT '{}',
    ADD COLUMN updated_at BIGINT;

-- The kinds of changes are the program's to know.
ALTER TABLE changes DROP CONSTRAINT changes_kind_check;
