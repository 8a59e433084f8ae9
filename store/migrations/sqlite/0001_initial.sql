-- Times are microseconds since 1970, ids are never given twice, enums are stored by name. The PostgreSQL schema is the same but for the
-- change log, whose order needs help there.

-- Names the pair of this catalog and a blob store.
CREATE TABLE store (
    single_row INTEGER NOT NULL DEFAULT 1,
    id TEXT NOT NULL,
    CONSTRAINT store_pkey PRIMARY KEY (single_row),
    CONSTRAINT store_single_row_check CHECK (single_row = 1),
    CONSTRAINT store_id_check CHECK (octet_length(id) = 32)
) STRICT;

CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    CONSTRAINT users_name_key UNIQUE (name),
    CONSTRAINT users_name_check CHECK (octet_length(name) BETWEEN 1 AND 64),
    CONSTRAINT users_disabled_check CHECK (disabled IN (0, 1)),
    CONSTRAINT users_role_check CHECK (role IN ('user', 'admin'))
) STRICT;

CREATE TABLE tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL,
    secret_sha256 BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT tokens_secret_sha256_key UNIQUE (secret_sha256),
    CONSTRAINT tokens_secret_sha256_check CHECK (octet_length(secret_sha256) = 32),
    CONSTRAINT tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id)
) STRICT;
CREATE INDEX tokens_user ON tokens (user_id);

-- Every blob that is or was referred to. A doomed one waits for its bytes to be removed.
CREATE TABLE blobs (
    key TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    block_crc32c BLOB NOT NULL, -- one little-endian u32 a block
    created_at INTEGER NOT NULL,
    doomed_at INTEGER,
    CONSTRAINT blobs_pkey PRIMARY KEY (key),
    CONSTRAINT blobs_size_bytes_check CHECK (size_bytes >= 0),
    CONSTRAINT blobs_sha256_check CHECK (octet_length(sha256) = 32),
    CONSTRAINT blobs_block_crc32c_check CHECK (octet_length(block_crc32c) % 4 = 0)
) STRICT;
CREATE INDEX blobs_doomed ON blobs (doomed_at) WHERE doomed_at IS NOT NULL;

CREATE TABLE images (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner_id INTEGER NOT NULL,
    file_name TEXT NOT NULL,
    format TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    frame_count INTEGER NOT NULL,
    original_key TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT images_original_key_key UNIQUE (original_key),
    CONSTRAINT images_size_check CHECK (width >= 1 AND height >= 1 AND frame_count >= 1),
    CONSTRAINT images_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES users (id),
    CONSTRAINT images_original_key_fkey FOREIGN KEY (original_key) REFERENCES blobs (key)
) STRICT;
CREATE INDEX images_owner ON images (owner_id, id);

CREATE TABLE renditions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    image_id INTEGER NOT NULL,
    spec TEXT NOT NULL, -- equal specs of an image share one rendition; so far the format's name
    format TEXT NOT NULL,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    finished_at INTEGER,
    -- pending: not to be begun before due_at; told_at is when the queue was last told, 0 if not since it became pending
    due_at INTEGER,
    told_at INTEGER,
    -- running; the token outlives the lease so that it only ever grows
    lease_token INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER,
    worker_id TEXT,
    -- ready
    output_key TEXT,
    output_width INTEGER,
    output_height INTEGER,
    output_frame_count INTEGER,
    first_frame_only INTEGER,
    -- failed
    failure_reason TEXT,
    failure_message TEXT,
    CONSTRAINT renditions_spec_key UNIQUE (image_id, spec),
    CONSTRAINT renditions_output_key_key UNIQUE (output_key),
    CONSTRAINT renditions_state_check CHECK (state IN ('pending', 'running', 'ready', 'failed')),
    CONSTRAINT renditions_first_frame_only_check CHECK (first_frame_only IN (0, 1)),
    CONSTRAINT renditions_attempt_check CHECK (attempt >= 0),
    CONSTRAINT renditions_pending_check CHECK (
        (state = 'pending') = (due_at IS NOT NULL) AND (state = 'pending') = (told_at IS NOT NULL)
    ),
    CONSTRAINT renditions_running_check CHECK (
        (state = 'running') = (lease_until IS NOT NULL) AND (state = 'running') = (worker_id IS NOT NULL)
    ),
    CONSTRAINT renditions_ready_check CHECK (
        (state = 'ready') = (output_key IS NOT NULL) AND (state = 'ready') = (output_width IS NOT NULL)
        AND (state = 'ready') = (output_height IS NOT NULL) AND (state = 'ready') = (output_frame_count IS NOT NULL)
        AND (state = 'ready') = (first_frame_only IS NOT NULL)
    ),
    CONSTRAINT renditions_failed_check CHECK (
        (state = 'failed') = (failure_reason IS NOT NULL) AND (state = 'failed') = (failure_message IS NOT NULL)
    ),
    CONSTRAINT renditions_finished_check CHECK ((state IN ('ready', 'failed')) = (finished_at IS NOT NULL)),
    CONSTRAINT renditions_image_id_fkey FOREIGN KEY (image_id) REFERENCES images (id),
    CONSTRAINT renditions_output_key_fkey FOREIGN KEY (output_key) REFERENCES blobs (key)
) STRICT;
CREATE INDEX renditions_pending ON renditions (told_at, id) WHERE state = 'pending';
CREATE INDEX renditions_running ON renditions (lease_until) WHERE state = 'running';

-- Client's names for uploads. They outlive their images: a repeat must not upload again what was deleted.
CREATE TABLE requests (
    owner_id INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    image_id INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT requests_pkey PRIMARY KEY (owner_id, request_id),
    CONSTRAINT requests_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES users (id)
) STRICT;
CREATE INDEX requests_created ON requests (created_at);

-- The change log. There is one writer at a time, so rows become visible in the order of their positions.
CREATE TABLE changes (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    image_id INTEGER NOT NULL,
    owner_id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    CONSTRAINT changes_kind_check CHECK (kind IN ('created', 'rendition_changed', 'deleted'))
) STRICT;
CREATE INDEX changes_at ON changes (at);

CREATE TABLE workers (
    id TEXT NOT NULL,
    version TEXT NOT NULL,
    input_formats TEXT NOT NULL, -- names, separated by commas
    output_formats TEXT NOT NULL,
    sandbox TEXT NOT NULL,
    slots INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    CONSTRAINT workers_pkey PRIMARY KEY (id)
) STRICT;
CREATE INDEX workers_seen ON workers (seen_at);
