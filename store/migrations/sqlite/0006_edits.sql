-- Images can be updated, too. A check is only text, so it is changed in the schema itself, as https://www.sqlite.org/lang_altertable.html
-- shows, and the log with all that belongs to it stays as it is. What is altered below tells other connections to read the schema again.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, '''rendition_changed'', ''deleted''', '''rendition_changed'', ''updated'', ''deleted''')
WHERE type = 'table' AND name = 'changes';
PRAGMA writable_schema = RESET;

-- Labels of images, a JSON object, and when name or labels were last changed: null as long as they never were.
ALTER TABLE images ADD COLUMN labels TEXT NOT NULL DEFAULT '{}' CONSTRAINT images_labels_check CHECK (json_type(labels) = 'object');
ALTER TABLE images ADD COLUMN updated_at INTEGER;
