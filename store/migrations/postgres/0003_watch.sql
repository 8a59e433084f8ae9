-- Which rendition a line of the log is about, and the state it went to. Null in lines of other kinds and in those written before this version.
ALTER TABLE changes
    ADD COLUMN rendition_id BIGINT,
    ADD COLUMN rendition_format TEXT,
    ADD COLUMN rendition_state TEXT,
    ADD CONSTRAINT changes_rendition_check CHECK (
        (rendition_id IS NULL) = (rendition_format IS NULL) AND (rendition_id IS NULL) = (rendition_state IS NULL)
        AND (rendition_id IS NULL OR kind = 'rendition_changed')
    );
-- One owner's part of the log, for whoever reads it again.
CREATE INDEX changes_owner ON changes (owner_id, position);

-- The highest position that was ever pruned: whoever read less far than that may have missed something.
ALTER TABLE change_log ADD COLUMN pruned_position BIGINT NOT NULL DEFAULT 0;
-- What was pruned before this version is not known: everything up to the oldest line that is left.
UPDATE change_log SET pruned_position = coalesce((SELECT min(position) - 1 FROM changes), last_position);

-- Who publishes the log as events, until when, and how far. It begins where the log says which rendition changed.
CREATE TABLE event_publisher (
    single_row BOOLEAN NOT NULL DEFAULT TRUE,
    holder TEXT,
    lease_until BIGINT NOT NULL,
    position BIGINT NOT NULL,
    CONSTRAINT event_publisher_pkey PRIMARY KEY (single_row),
    CONSTRAINT event_publisher_single_row_check CHECK (single_row)
);
INSERT INTO event_publisher (lease_until, position) SELECT 0, last_position FROM change_log;
