"""The tables of ``run.sqlite``."""

# One entry a version of the file, each a list of statements. Append; never change one that was released.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE jobs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            title TEXT NOT NULL,
            arguments TEXT NOT NULL,  -- JSON list: what a person types after 'maskdistill', without --run
            folder TEXT NOT NULL,  -- the working folder that relative paths among them start from
            device TEXT NOT NULL,
            settings TEXT NOT NULL DEFAULT '{}',  -- JSON of RunConfig
            state TEXT NOT NULL,
            message TEXT NOT NULL DEFAULT '',
            turn INTEGER NOT NULL,  -- place in the run's queue
            attempts INTEGER NOT NULL DEFAULT 1,
            token TEXT NOT NULL,  -- of this attempt; marks its processes
            process TEXT,  -- JSON of ProcessId
            beat INTEGER NOT NULL DEFAULT 0,  -- counts heartbeats, over all attempts
            oom_kills INTEGER,  -- the system's count when the attempt began to work
            created REAL NOT NULL, started REAL, ended REAL,  -- seconds since 1970
            seconds REAL NOT NULL DEFAULT 0,  -- at work, over all attempts
            stage TEXT NOT NULL DEFAULT '',
            done INTEGER NOT NULL DEFAULT 0,
            total INTEGER NOT NULL DEFAULT 0,
            unit TEXT NOT NULL DEFAULT '',
            rate REAL NOT NULL DEFAULT 0,
            seconds_left REAL
        )""",
        # Whatever the code does: the same work is under way once, and one job at a time works on a run.
        "CREATE UNIQUE INDEX job_once ON jobs(arguments) WHERE state IN ('queued', 'running', 'stopping')",
        "CREATE UNIQUE INDEX one_at_work ON jobs((state IS NULL)) WHERE state IN ('running', 'stopping')",
        """CREATE TABLE events (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            job INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
            time REAL NOT NULL,  -- seconds since 1970
            kind TEXT NOT NULL,
            key TEXT,  -- what must not come twice in a job, such as an epoch of a stage; NULL for the others
            value TEXT NOT NULL,  -- JSON object
            UNIQUE (job, kind, key)
        )""",
        """CREATE TABLE observations (
            job INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
            observer TEXT NOT NULL,  -- a machine since it was switched on
            beat INTEGER NOT NULL,  -- of the job when this machine read it
            since REAL NOT NULL,  -- seconds of that machine's monotonic clock at which it first saw this beat
            PRIMARY KEY (job, observer)
        )""",
    ),
    (
        # People's decisions. Nothing here is ever changed or deleted: to undo is a step of its own.
        """CREATE TABLE steps (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            time REAL NOT NULL,  -- seconds since 1970
            reviewer TEXT NOT NULL,
            scope TEXT NOT NULL,
            kind TEXT NOT NULL,
            value TEXT NOT NULL,  -- JSON object
            clusters TEXT NOT NULL,  -- fingerprint of the clustering whose numbers it uses; '' without one
            base INTEGER NOT NULL,  -- step that took another clustering over instead, 0 if none had
            undoes INTEGER REFERENCES steps(id)
        )""",
        "CREATE INDEX steps_undoes ON steps(undoes) WHERE undoes IS NOT NULL",
        """CREATE TABLE marks (
            step INTEGER NOT NULL REFERENCES steps(id),
            mask_id INTEGER NOT NULL,
            image_id TEXT NOT NULL,  -- photo and box find a mask that was made anew
            x INTEGER NOT NULL, y INTEGER NOT NULL, w INTEGER NOT NULL, h INTEGER NOT NULL,  -- pixels
            action TEXT NOT NULL,
            cluster INTEGER,
            PRIMARY KEY (step, mask_id)
        ) WITHOUT ROWID""",
        "CREATE INDEX marks_mask ON marks(mask_id)",
        """CREATE TABLE assignments (
            step INTEGER NOT NULL REFERENCES steps(id),
            mask_id INTEGER NOT NULL,
            cluster INTEGER NOT NULL,  -- where the step put the mask
            PRIMARY KEY (step, mask_id)
        ) WITHOUT ROWID""",
        # Who has a mask on the screen; no decision, so it may be replaced and deleted.
        """CREATE TABLE claims (
            mask_id INTEGER PRIMARY KEY,
            reviewer TEXT NOT NULL,
            until REAL NOT NULL  -- seconds since 1970
        )""",
        """CREATE TABLE views (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            time REAL NOT NULL,  -- seconds since 1970
            kind TEXT NOT NULL,
            name TEXT NOT NULL,
            value TEXT NOT NULL,  -- JSON
            deleted INTEGER NOT NULL DEFAULT 0  -- the newest row of a kind and name counts
        )""",
        "CREATE INDEX views_name ON views(kind, name)",
    ),
    (
        # What a browser tab sent under a number is written once, however often it comes.
        "ALTER TABLE steps ADD COLUMN client TEXT",  # a tab; NULL for what was not sent by number
        "ALTER TABLE steps ADD COLUMN seq INTEGER",  # its number for it, rising
        "CREATE UNIQUE INDEX steps_sent ON steps(client, seq) WHERE client IS NOT NULL",
        # A claim is a session's: one person may have two tabs open, and second opinions share masks.
        "ALTER TABLE claims RENAME TO claims_of_names",
        """CREATE TABLE claims (
            mask_id INTEGER NOT NULL,
            reviewer TEXT NOT NULL,
            until REAL NOT NULL,  -- seconds since 1970
            session TEXT NOT NULL DEFAULT '',  -- of a browser; '' in files of before
            second_opinion INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (mask_id, session)
        ) WITHOUT ROWID""",
        "INSERT INTO claims (mask_id, reviewer, until) SELECT mask_id, reviewer, until FROM claims_of_names",
        "DROP TABLE claims_of_names",
    ),
    (
        # Masks that people mended: one row a mask of the step.
        """CREATE TABLE repairs (
            step INTEGER NOT NULL REFERENCES steps(id),
            mask_id INTEGER NOT NULL,  -- of the mask that it makes: a number of its own where there was none
            shown_id INTEGER NOT NULL,  -- of what the person saw, as an object that no proposal was
            image_id TEXT NOT NULL,
            height INTEGER NOT NULL, width INTEGER NOT NULL,  -- of the photo in pixels
            base TEXT NOT NULL,  -- run-length code of the run's own mask, by which it is found again; '' without one
            before TEXT NOT NULL,  -- what the person started from; '' where there was nothing
            after TEXT NOT NULL,  -- what they made of it; '' where it goes, as into another
            PRIMARY KEY (step, mask_id)
        ) WITHOUT ROWID""",
        "CREATE INDEX repairs_mask ON repairs(mask_id)",
    ),
)
