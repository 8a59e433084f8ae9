-- What an original looks like and how renditions keep their colours, told by workers; NULL for what was made before.

ALTER TABLE images ADD COLUMN thumbhash BYTEA CONSTRAINT images_thumbhash_check CHECK (octet_length(thumbhash) BETWEEN 5 AND 25);
ALTER TABLE renditions ADD COLUMN output_colour_type TEXT; -- ready
ALTER TABLE renditions ADD COLUMN output_channel_bits BIGINT; -- ready
