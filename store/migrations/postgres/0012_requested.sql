-- Renditions that somebody asked for, which are not made while the owner's quota is used up. What was asked for before is made like what every
-- upload gets.
ALTER TABLE renditions ADD COLUMN requested BOOLEAN NOT NULL DEFAULT FALSE;
