//! Every place at which a run can be interrupted, times every way to interrupt it. However it
//! ends, the next run brings the database to where an undisturbed run brings it, and nothing is
//! done twice.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects by failing"
)]

mod engine_support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use engine_support::{
    Told, World, bundle,
    relay::{Relay, Startup},
    slow::start,
};
use sepulki::engine::{
    Bundle, Code,
    run::{OnAmbiguous, RunError, RunRequest, apply},
};

const FILES: [(&str, &str); 3] = [
    (
        "001_plain.sql",
        "CREATE TABLE log (what text);\nCREATE TABLE t (id int, a int);\nCREATE TABLE p (a int) PARTITION BY RANGE (a);\nCREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);\nCREATE TABLE gone (a int);\nCREATE INDEX gone_a ON gone (a);",
    ),
    (
        "002_mixed.sql",
        "INSERT INTO log VALUES ('first');\n\
         CREATE INDEX CONCURRENTLY t_a ON t (a);\n\
         DROP INDEX CONCURRENTLY gone_a;\n\
         BEGIN;\nINSERT INTO log VALUES ('block');\nCOMMIT;\n\
         REINDEX INDEX CONCURRENTLY t_a;\n\
         ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY;\n\
         DO $$ BEGIN INSERT INTO log VALUES ('do'); COMMIT; END $$;\n\
         COPY log FROM STDIN;\ncopied\n\\.\n\
         VACUUM t;\n",
    ),
    (
        "003_own.sql",
        "BEGIN;\nINSERT INTO log VALUES ('own');\nCOMMIT;",
    ),
];

/// Ways to interrupt a run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kill {
    /// The network goes before the server hears the message.
    CutBefore,
    /// The network goes after the server has the message: the answer is lost.
    CutAfter,
    /// Both sessions are terminated.
    Sessions,
    /// The runner ends without a word.
    Runner,
}

const KILLS: [Kill; 4] = [
    Kill::CutBefore,
    Kill::CutAfter,
    Kill::Sessions,
    Kill::Runner,
];
const OURS: &str = "application_name LIKE 'sepulki/%' AND datname = current_database()";
const LOG: &str = "SELECT string_agg(what, ',' ORDER BY what) FROM log";

async fn request(world: &World, bundle: &Arc<Bundle>) -> (RunRequest, Relay) {
    let relay = Relay::start(world.socket(), Startup::Forward).await;
    let mut request = world.request(bundle);
    request.target = world.target_by(&relay);
    // an interrupted run does not wait for a network that is gone
    request.timeouts.connect = Duration::from_secs(1);
    request.timeouts.other_run = Duration::from_mins(1);
    (request, relay)
}

/// Interrupts a run at a turn; false where it ended before.
async fn interrupt(world: &World, bundle: &Arc<Bundle>, turn: usize, kill: Kill) -> bool {
    let (request, relay) = request(world, bundle).await;
    let accident = &relay.accident;
    accident.turn.store(turn, Ordering::Relaxed);
    accident
        .cuts_before
        .store(kill == Kill::CutBefore, Ordering::Relaxed);
    accident
        .cuts_after
        .store(kill == Kill::CutAfter, Ordering::Relaxed);
    let mut run = start(request, &Told::default());
    tokio::select! {
        biased;
        () = accident.reached.notified() => {}
        result = &mut run => {
            result.unwrap().unwrap();
            return false;
        }
    }
    match kill {
        Kill::CutBefore | Kill::CutAfter => {}
        Kill::Sessions => {
            let terminate =
                format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}");
            world.execute(&terminate).await;
        }
        Kill::Runner => run.abort(),
    }
    accident.go.notify_one();
    // it may also come through: what was lost then is only a goodbye
    let ended = tokio::time::timeout(Duration::from_mins(1), run).await;
    assert!(ended.is_ok(), "turn {turn}, {kill:?}: the run hangs");
    true
}

/// Runs to the end as a person would, who looks where nobody else can know.
async fn finish(world: &World, bundle: &Arc<Bundle>) -> bool {
    let mut asked = false;
    let (mut request, _relay) = request(world, bundle).await;
    request.timeouts.connect = Duration::from_secs(20);
    loop {
        match apply(request.clone(), |_| {}).await {
            Ok(_) => return asked,
            Err(RunError::Failed(found)) if found.code == Code::Ambiguous && !asked => {
                asked = true;
                let ran = world
                    .one("SELECT count(*) FROM log WHERE what = 'do'")
                    .await;
                request.execution.on_ambiguous = if ran == "0" {
                    OnAmbiguous::Rerun
                } else {
                    OnAmbiguous::Skip
                };
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn interrupted_anywhere_in_any_way_the_end_is_the_same() {
    let bundle = bundle(&FILES);
    let world = World::new().await;
    let (undisturbed, relay) = request(&world, &bundle).await;
    apply(undisturbed, |_| {}).await.unwrap();
    let turns = relay.turns.load(Ordering::Relaxed);
    let end = Arc::new((
        world.dump().await.replace(&world.database.name, "db"),
        world.one(LOG).await,
    ));
    let cases: Vec<(usize, Kill)> = (1..=turns)
        .flat_map(|turn| KILLS.map(|kill| (turn, kill)))
        .collect();
    let total = cases.len();
    let (next, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let cases = Arc::new(cases);
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let (cases, next, asked) = (cases.clone(), next.clone(), asked.clone());
            let (bundle, end) = (bundle.clone(), end.clone());
            tokio::spawn(async move {
                while let Some((turn, kill)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let world = World::new().await;
                    let place = format!("turn {turn}, {kill:?}");
                    if !interrupt(&world, &bundle, *turn, *kill).await {
                        continue;
                    }
                    if finish(&world, &bundle).await {
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                    assert_eq!(world.one(LOG).await, end.1, "{place}");
                    let dumped = world.dump().await.replace(&world.database.name, "db");
                    assert!(dumped == end.0, "{place}: {dumped}");
                    let versions = world.versions().await;
                    assert_eq!(versions, FILES.map(|(name, _)| name), "{place}");
                    let notes = "SELECT count(*) FROM sepulki_engine.journal";
                    assert_eq!(world.one(notes).await, "0", "{place}");
                    let invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
                    assert_eq!(world.one(invalid).await, "0", "{place}");
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let asked = asked.load(Ordering::Relaxed);
    println!("{total} interruptions at {turns} turns; in {asked} somebody had to look");
    assert!(total >= 200, "only {total} interruptions");
    assert!(asked > 0, "a block that commits was never in doubt");
}

/// Changes to one database, each of which is a difference.
const CHANGES: [&str; 20] = [
    "CREATE TABLE more ()",
    "ALTER TABLE t ADD COLUMN b int",
    "ALTER TABLE t ALTER COLUMN b SET DEFAULT 1",
    "ALTER TABLE t ALTER COLUMN b SET NOT NULL",
    "ALTER TABLE t ADD CONSTRAINT c CHECK (b > 0) NOT VALID",
    "ALTER TABLE t VALIDATE CONSTRAINT c",
    "CREATE UNIQUE INDEX i ON t (b)",
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i'::regclass",
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE TRIGGER g AFTER INSERT ON t EXECUTE FUNCTION f()",
    "ALTER TABLE t DISABLE TRIGGER g",
    "CREATE TYPE e AS ENUM ('a')",
    "ALTER TYPE e ADD VALUE 'b'",
    "COMMENT ON COLUMN t.b IS 'told'",
    "ALTER TABLE more OWNER TO pg_monitor",
    "GRANT SELECT (b) ON t TO PUBLIC",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "CREATE POLICY p ON t USING (true)",
    "CREATE SCHEMA s",
    "CREATE CAST (e AS int) WITH INOUT",
];

#[tokio::test]
async fn what_ends_are_compared_by_shows_every_change() {
    let world = World::new().await;
    world.execute("CREATE TABLE t (a int)").await;
    let mut before = world.catalog().await;
    for change in CHANGES {
        world.execute(change).await;
        let after = world.catalog().await;
        assert_ne!(before, after, "{change}");
        before = after;
    }
}
