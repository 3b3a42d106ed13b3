//! A database with a history that nobody can vouch for: what is there of it?

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::{Checkout, Ran, sha256};

const FILES: [(&str, &str); 8] = [
    (
        "001_initial.sql",
        "CREATE TABLE robots (id int PRIMARY KEY, name text, label text);\nCREATE TABLE old (id int);\n",
    ),
    (
        "002_indexes.sql",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS robots_name ON robots (name);\n",
    ),
    (
        "003_telemetry.sql",
        "BEGIN;\nCREATE TYPE level AS ENUM ('low');\nALTER TYPE level ADD VALUE 'high';\nCREATE TABLE telemetry (at timestamptz, level level);\nCOMMIT;\n",
    ),
    (
        "004_never_ran.sql",
        "CREATE TABLE maps (id int PRIMARY KEY);\nALTER TABLE robots ADD COLUMN map int REFERENCES maps;\n",
    ),
    (
        "005_edited.sql",
        "ALTER TABLE robots RENAME COLUMN label TO title;\nDROP TABLE old;\nCREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';\n",
    ),
    (
        "006_half.sql",
        "CREATE INDEX telemetry_at ON telemetry (at);\nCREATE INDEX telemetry_level ON telemetry (level);\n",
    ),
    (
        "007_seed.sql",
        "COPY telemetry (at) FROM STDIN;\n2024-01-01\n\\.\nVACUUM telemetry;\n",
    ),
    ("008_next.sql", "CREATE TABLE next (id int);\n"),
];

/// As the old runner made it.
const LEDGER: &str = "CREATE TABLE schema_migrations (version varchar(255) PRIMARY KEY, \
                        applied_at timestamptz DEFAULT now(), checksum varchar(64))";

impl Checkout {
    /// psql, or what it is fed by, as people use them.
    fn by_hand(&self, program: &str, database: &str) -> Command {
        let mut command = Command::new(self.world.server.bin_dir.join(program));
        command.arg(self.url_of(database)).env_clear();
        command
    }

    fn psql(&self, database: &str, sql: &str) {
        let mut command = self.by_hand("psql", database);
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        let ran = command.stdin(Stdio::null()).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
    }

    fn schema(&self, database: &str) -> String {
        let dump = self
            .by_hand("pg_dump", database)
            .arg("--schema-only")
            .output();
        let text = String::from_utf8(dump.unwrap().stdout).unwrap();
        // psql's commands are for its standard input
        let lines = text.lines().filter(|line| !line.starts_with('\\'));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// An empty database of the same owner.
    async fn scratch(&self) -> String {
        let name = format!("{}_scratch", self.world.database.name);
        let owner = &self.world.database.owner;
        let make = format!("CREATE DATABASE {name} OWNER {owner}");
        self.world.execute(&make).await;
        name
    }

    /// What the old runner and people left behind.
    fn live_through_the_past(&self) {
        let database = &self.world.database.name;
        for at in [0, 1, 2, 4] {
            self.psql(database, FILES[at].1);
        }
        let (half, _) = FILES[5].1.split_once('\n').unwrap();
        self.psql(database, half);
        let (real, wrong) = (sha256(FILES[3].1.as_bytes()), "0".repeat(64));
        let rows = format!(
            "{LEDGER}; \
             INSERT INTO schema_migrations (version, checksum) VALUES ('000_pruned.sql', 'unknown'), \
               ('002_indexes.sql', 'unknown'), ('003_telemetry', NULL), ('004_never_ran.sql', '{real}'), \
               ('005_edited.sql', '{wrong}'), ('006_half.sql', NULL), ('007_seed.sql', NULL)"
        );
        self.psql(database, &rows);
    }
}

fn verdicts(report: &Value) -> Vec<(&str, &str)> {
    let told = report["versions"].as_array().unwrap().iter();
    told.map(|told| {
        let part = |name: &str| told[name].as_str().unwrap();
        (part("version"), part("verdict"))
    })
    .collect()
}

#[tokio::test]
async fn each_row_of_an_old_ledger_gets_a_verdict_and_nothing_is_run_again() {
    let checkout = Checkout::new(&FILES).await;
    checkout.live_through_the_past();
    let database = &checkout.world.database.name;
    let scratch = checkout.scratch().await;
    let verify = |arguments: &[&str]| {
        let mut command = checkout.command(&[&["migrate", "verify"], arguments].concat());
        command.env("SCRATCH_DATABASE_URL", checkout.url_of(&scratch));
        Ran::of(command.output().unwrap())
    };

    let empty = verify(&[]);
    assert_eq!(empty.code, 1);
    assert!(
        empty.err.contains("is no copy of the database: it lacks") && empty.err.contains("pg_dump"),
        "{empty:?}"
    );
    let schema = checkout.schema(database);
    checkout.psql(&scratch, &schema);
    let copied = checkout.schema(&scratch);

    let alias = ["--alias", "003_telemetry=003_telemetry.sql", "-o", "json"];
    let verified = verify(&alias);
    assert_eq!(verified.code, 1, "{verified:?}");
    let report = verified.json();
    assert_eq!(
        verdicts(&report),
        [
            ("001_initial.sql", "ThereWithoutRow"),
            ("002_indexes.sql", "Consistent"),
            ("003_telemetry.sql", "Consistent"),
            ("004_never_ran.sql", "ClaimedButMissing"),
            ("005_edited.sql", "Consistent"),
            ("006_half.sql", "ClaimedButMissing"),
            ("007_seed.sql", "Unknown"),
            ("008_next.sql", "Pending"),
            ("000_pruned.sql", "Unknown"),
        ],
        "{report:#}"
    );
    let of = |at: usize, part: &str| report["versions"][at][part].clone();
    assert_eq!(of(1, "checksum"), "unknown");
    assert_eq!(of(3, "checksum"), "matches");
    assert_eq!(of(4, "checksum"), "edited");
    assert_eq!(
        of(3, "missing"),
        json!([
            "makes table column public.robots.map",
            "makes table constraint robots_map_fkey on public.robots",
            "makes table public.maps",
        ])
    );
    assert_eq!(
        of(5, "missing"),
        json!(["makes index public.telemetry_level"])
    );

    let almost = verify(&[]);
    assert!(
        almost
            .out
            .contains("--alias '003_telemetry=003_telemetry.sql'"),
        "{almost:?}"
    );
    assert_eq!(checkout.schema(database), schema);
    assert_eq!(checkout.schema(&scratch), copied);
    assert_eq!(
        checkout.world.one("SELECT count(*) FROM telemetry").await,
        "0"
    );
    assert_eq!(checkout.world.versions().await.len(), 7);
}

#[tokio::test]
async fn a_scratch_database_is_another_one_and_its_password_is_kept() {
    let checkout = Checkout::new(&FILES[..1]).await;
    let url = checkout.url();
    let mut itself = checkout.command(&["migrate", "verify"]);
    let itself = itself.env("SCRATCH_DATABASE_URL", &url).output().unwrap();
    let itself = Ran::of(itself);
    assert_eq!(itself.code, 1);
    assert!(itself.err.contains("is the database itself"), "{itself:?}");
    let shown = checkout.run(&["migrate", "verify", "--scratch", &url]);
    assert_eq!(shown.code, 2);
    assert!(shown.err.contains("SCRATCH_DATABASE_URL"), "{shown:?}");
    assert_eq!(checkout.run(&["migrate", "verify"]).code, 2);
}

#[tokio::test]
async fn a_file_that_was_run_by_hand_is_not_fine() {
    let checkout = Checkout::new(&FILES[..1]).await;
    let scratch = checkout.scratch().await;
    for database in [&checkout.world.database.name, &scratch] {
        checkout.psql(database, FILES[0].1);
        checkout.psql(database, LEDGER);
    }
    let verify = || {
        let mut command = checkout.command(&["migrate", "verify"]);
        command.env("SCRATCH_DATABASE_URL", checkout.url_of(&scratch));
        Ran::of(command.output().unwrap())
    };
    let by_hand = verify();
    assert_eq!(by_hand.code, 1, "{by_hand:?}");
    assert!(by_hand.out.contains("record it with mark"), "{by_hand:?}");
    assert_eq!(checkout.run(&["migrate", "mark", FILES[0].0]).code, 0);
    let recorded = verify();
    assert_eq!(recorded.code, 0, "{recorded:?}");
}

/// What a history of rows claims, and what has become of it.
const CLAIMS: [(&str, &str); 9] = [
    (
        "001_users.sql",
        "CREATE TABLE users (id int, label text);\n",
    ),
    // never ran; a column of this name is elsewhere
    (
        "002_email.sql",
        "ALTER TABLE users ADD COLUMN email text;\n",
    ),
    (
        "003_contacts.sql",
        "CREATE TABLE contacts (id serial PRIMARY KEY, email text);\nALTER TABLE contacts ADD CHECK (email <> '');\nCREATE INDEX ON contacts (email);\n",
    ),
    (
        "004_rename.sql",
        "CREATE TABLE things_new (id serial PRIMARY KEY);\nALTER TABLE things_new RENAME TO things;\n",
    ),
    (
        "005_invalid.sql",
        "CREATE INDEX CONCURRENTLY users_id ON users (id);\n",
    ),
    (
        "006_another.sql",
        "CREATE INDEX users_label ON users (label);\n",
    ),
    (
        "007_fits.sql",
        "CREATE UNIQUE INDEX IF NOT EXISTS users_both ON public.users USING btree (id, lower(label)) WHERE id > 0;\n",
    ),
    (
        "008_half.sql",
        "CREATE TABLE half (id int);\nCREATE TABLE other_half (id int);\n",
    ),
    ("009_next.sql", "CREATE TABLE next (id int);\n"),
];

#[tokio::test]
async fn what_is_there_is_judged_by_the_very_thing() {
    let checkout = Checkout::new(&CLAIMS).await;
    let database = &checkout.world.database.name;
    for at in [0, 2, 3, 4, 6] {
        checkout.psql(database, CLAIMS[at].1);
    }
    let past = "CREATE INDEX users_label ON users (id); CREATE TABLE half (id int); \
                ALTER INDEX users_both SET (fillfactor = 70)";
    checkout.psql(database, past);
    let rows: Vec<String> = CLAIMS[..7]
        .iter()
        .map(|(name, _)| format!("('{name}')"))
        .collect();
    let rows = format!(
        "{LEDGER}; INSERT INTO schema_migrations VALUES {}",
        rows.join(", ")
    );
    checkout.psql(database, &rows);
    // as a build leaves it that failed
    let broken = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'users_id'::regclass";
    checkout.world.execute(broken).await;
    let scratch = checkout.scratch().await;
    checkout.psql(&scratch, &checkout.schema(database));

    let mut command = checkout.command(&["migrate", "verify", "-o", "json"]);
    command.env("SCRATCH_DATABASE_URL", checkout.url_of(&scratch));
    let verified = Ran::of(command.output().unwrap());
    assert_eq!(verified.code, 1, "{verified:?}");
    let report = verified.json();
    assert_eq!(
        verdicts(&report),
        [
            ("001_users.sql", "Consistent"),
            ("002_email.sql", "ClaimedButMissing"),
            ("003_contacts.sql", "Consistent"),
            ("004_rename.sql", "Consistent"),
            ("005_invalid.sql", "ClaimedButMissing"),
            ("006_another.sql", "ClaimedButMissing"),
            ("007_fits.sql", "Consistent"),
            ("008_half.sql", "ThereInPart"),
            ("009_next.sql", "Pending"),
        ],
        "{report:#}"
    );
    let missing = |at: usize| {
        report["versions"][at]["missing"][0]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(missing(1), "makes table column public.users.email");
    assert!(missing(4).contains("it is invalid"), "{report:#}");
    assert_eq!(
        missing(5),
        "makes index public.users_label as CREATE INDEX USING btree (label), but it is CREATE INDEX USING btree (id)"
    );
}
