-- Which programs can work with this schema: those that know at least this version of it, so that a program can be taken back to the version
-- before. A migration that breaks what older programs do raises the number.
CREATE TABLE compatibility (
    single_row INTEGER NOT NULL DEFAULT 1,
    oldest_program INTEGER NOT NULL,
    CONSTRAINT compatibility_pkey PRIMARY KEY (single_row),
    CONSTRAINT compatibility_single_row_check CHECK (single_row = 1)
) STRICT;
INSERT INTO compatibility (oldest_program) VALUES (10);
