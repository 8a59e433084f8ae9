-- Which programs can work with this schema: those that know at least this version of it, so that programs of two versions run side by side
-- while one is replaced by the other. A migration that breaks what older programs do raises the number.
CREATE TABLE compatibility (
    single_row BOOLEAN NOT NULL DEFAULT TRUE,
    oldest_program BIGINT NOT NULL,
    CONSTRAINT compatibility_pkey PRIMARY KEY (single_row),
    CONSTRAINT compatibility_single_row_check CHECK (single_row)
);
INSERT INTO compatibility (oldest_program) VALUES (10);
