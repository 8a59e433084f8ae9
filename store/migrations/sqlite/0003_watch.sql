-- Which rendition a line of the log is about, and the state it went to. Null in lines of other kinds and in those written before this version.
ALTER TABLE changes ADD COLUMN rendition_id INTEGER;
ALTER TABLE changes ADD COLUMN rendition_format TEXT;
ALTER TABLE changes ADD COLUMN rendition_state TEXT;
-- One owner's part of the log, for whoever reads it again.
CREATE INDEX changes_owner ON changes (owner_id, position);

-- The highest position that was ever pruned: whoever read less far than that may have missed something.
CREATE TABLE change_log (
    single_row INTEGER NOT NULL DEFAULT 1,
    pruned_position INTEGER NOT NULL,
    CONSTRAINT change_log_pkey PRIMARY KEY (single_row),
    CONSTRAINT change_log_single_row_check CHECK (single_row = 1)
) STRICT;
-- What was pruned before this version is not known: everything up to the oldest line that is left.
INSERT INTO change_log (pruned_position)
SELECT coalesce((SELECT min(position) - 1 FROM changes), (SELECT seq FROM sqlite_sequence WHERE name = 'changes'), 0);

-- Who publishes the log as events, until when, and how far. It begins where the log says which rendition changed.
CREATE TABLE event_publisher (
    single_row INTEGER NOT NULL DEFAULT 1,
    holder TEXT,
    lease_until INTEGER NOT NULL,
    position INTEGER NOT NULL,
    CONSTRAINT event_publisher_pkey PRIMARY KEY (single_row),
    CONSTRAINT event_publisher_single_row_check CHECK (single_row = 1)
) STRICT;
INSERT INTO event_publisher (lease_until, position)
SELECT 0, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'changes'), 0);
