-- Renditions that somebody asked for, which are not made while the owner's quota is used up. What was asked for before is made like what every
-- upload gets.
ALTER TABLE renditions ADD COLUMN requested INTEGER NOT NULL DEFAULT 0 CONSTRAINT renditions_requested_check CHECK (requested IN (0, 1));
