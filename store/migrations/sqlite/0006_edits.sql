-- Labels of images, a JSON object, and when name or labels were last changed: null as long as they never were.
ALTER TABLE images ADD COLUMN labels TEXT NOT NULL DEFAULT '{}' CONSTRAINT images_labels_check CHECK (json_type(labels) = 'object');
ALTER TABLE images ADD COLUMN updated_at INTEGER;

-- The kinds of changes are the program's to know: a check of them could be changed only by copying the table, as is done here for the last time.
CREATE TABLE changes_unchecked (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    image_id INTEGER NOT NULL,
    owner_id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    rendition_id INTEGER,
    rendition_format TEXT,
    rendition_state TEXT
) STRICT;
-- Positions go on where they were, also when the latest were pruned.
INSERT INTO sqlite_sequence (name, seq) SELECT 'changes_unchecked', seq FROM sqlite_sequence WHERE name = 'changes';
INSERT INTO changes_unchecked (position, image_id, owner_id, kind, at, rendition_id, rendition_format, rendition_state)
SELECT position, image_id, owner_id, kind, at, rendition_id, rendition_format, rendition_state FROM changes;
DROP TABLE changes;
ALTER TABLE changes_unchecked RENAME TO changes;
CREATE INDEX changes_at ON changes (at);
CREATE INDEX changes_owner ON changes (owner_id, position);
