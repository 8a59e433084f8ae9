-- Who else may see an image. A user is named: with a name that nobody has, a share has no effect and looks like any other, also when somebody
-- gets that name later.
CREATE TABLE shares (
    image_id INTEGER NOT NULL,
    user_name TEXT NOT NULL, -- empty: every signed-in user
    user_id INTEGER, -- 0: every signed-in user; null: nobody
    role TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT shares_pkey PRIMARY KEY (image_id, user_name),
    CONSTRAINT shares_role_check CHECK (role IN ('editor', 'viewer')),
    CONSTRAINT shares_everyone_check CHECK ((user_name = '') = (coalesce(user_id, -1) = 0)),
    CONSTRAINT shares_image_id_fkey FOREIGN KEY (image_id) REFERENCES images (id)
) STRICT;
-- What is shared with somebody, in the order in which images are listed.
CREATE UNIQUE INDEX shares_user ON shares (user_id, image_id);

-- Of a line that is a copy for somebody with whom the image is shared: for whom; 0 for everyone. Its kind is how the image changed for
-- them: a share begins with `created` and ends with `deleted`.
ALTER TABLE changes ADD COLUMN viewer_id INTEGER;
-- Who is told.
ALTER TABLE changes ADD COLUMN audience_id INTEGER GENERATED ALWAYS AS (coalesce(viewer_id, owner_id)) VIRTUAL;
DROP INDEX changes_owner;
CREATE INDEX changes_audience ON changes (audience_id, position);

-- Here, so that no statement that appends a change can forget it.
CREATE TRIGGER changes_viewers AFTER INSERT ON changes WHEN NEW.viewer_id IS NULL BEGIN
    INSERT INTO changes (image_id, owner_id, viewer_id, kind, at, rendition_id, rendition_format, rendition_state)
    SELECT NEW.image_id, NEW.owner_id, user_id, NEW.kind, NEW.at, NEW.rendition_id, NEW.rendition_format, NEW.rendition_state
    FROM shares WHERE image_id = NEW.image_id AND user_id IS NOT NULL;
END;
