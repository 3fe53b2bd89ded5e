"""The tables of a trap's SQLite file, version by version."""

from __future__ import annotations

# One script per schema version. Never change one that was released: add another.
MIGRATIONS = (
    """
    CREATE TABLE messages (
        row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, priority INTEGER NOT NULL, picture INTEGER NOT NULL,
        topic TEXT NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
        retry_at REAL NOT NULL DEFAULT 0, refused TEXT NOT NULL DEFAULT '', payload BLOB NOT NULL);
    CREATE INDEX messages_in_order ON messages (priority, row);
    CREATE TABLE alerts (
        row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, species TEXT NOT NULL, source TEXT NOT NULL,
        event_start TEXT NOT NULL, event_start_unix REAL NOT NULL);
    CREATE INDEX alerts_by_species ON alerts (species, event_start_unix);
    CREATE TABLE sightings (
        row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL, species TEXT NOT NULL,
        scientific_name TEXT NOT NULL, observation_type TEXT NOT NULL, probability REAL NOT NULL,
        event_start TEXT NOT NULL, last_seen TEXT NOT NULL, event_end TEXT, lighting TEXT NOT NULL,
        frames INTEGER NOT NULL, x REAL NOT NULL, y REAL NOT NULL, width REAL NOT NULL, height REAL NOT NULL,
        frame_width INTEGER NOT NULL, frame_height INTEGER NOT NULL, source TEXT NOT NULL, replay INTEGER NOT NULL,
        pictured INTEGER NOT NULL, last_seen_unix REAL NOT NULL);
    CREATE INDEX sightings_by_time ON sightings (last_seen_unix);
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    """,
    "ALTER TABLE sightings ADD COLUMN timestamp_issues INTEGER NOT NULL DEFAULT 0;",
    """
    ALTER TABLE sightings ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE sightings ADD COLUMN members TEXT NOT NULL DEFAULT '';
    ALTER TABLE sightings ADD COLUMN evidence TEXT NOT NULL DEFAULT '';
    """,
    """
    ALTER TABLE messages RENAME TO old_messages;
    DROP INDEX messages_in_order;
    CREATE TABLE messages (
        row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, priority INTEGER NOT NULL, picture INTEGER NOT NULL,
        topic TEXT NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
        retry_at REAL NOT NULL DEFAULT 0, refused TEXT NOT NULL DEFAULT '', taken INTEGER NOT NULL DEFAULT 0,
        taken_at REAL NOT NULL DEFAULT 0, unheard INTEGER NOT NULL DEFAULT 0, receipt INTEGER NOT NULL DEFAULT 1,
        size INTEGER NOT NULL,
        -- Last: what stands behind a picture is read through all of its pages.
        payload BLOB NOT NULL);
    INSERT INTO messages (row, id, priority, picture, topic, qos, retain, attempts, retry_at, refused, size, payload)
        SELECT row, id, priority, picture, topic, qos, retain, attempts, retry_at, refused, length(payload), payload
        FROM old_messages;
    DROP TABLE old_messages;
    CREATE INDEX messages_to_send ON messages (priority, row) WHERE taken != 1;
    CREATE INDEX messages_by_id ON messages (id);
    CREATE INDEX messages_taken ON messages (topic, taken_at) WHERE taken = 1;
    ALTER TABLE sightings ADD COLUMN corrected TEXT;
    CREATE TABLE commands (id TEXT PRIMARY KEY, issued REAL NOT NULL) WITHOUT ROWID;
    CREATE INDEX commands_by_time ON commands (issued);
    CREATE TABLE snoozes (species TEXT PRIMARY KEY, until REAL NOT NULL, seconds REAL NOT NULL) WITHOUT ROWID;
    """,
)
