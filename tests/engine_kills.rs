//! The program itself, killed for real at its turns: `kill -9` of the runner, its sessions ended,
//! the server stopped on the spot, the network gone once a message is sent; also while an index
//! waits in the middle of being built. The next run brings the database to where an undisturbed
//! one brings it, and nothing is done twice: on the installed version of PostgreSQL and on the newest. `KILLS` says how
//! many on each; `make crash` has them all.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects by failing"
)]

mod engine_support;

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::Ordering,
    time::Duration,
};

use engine_support::{
    World,
    relay::{Relay, Startup},
    until,
};
use sqlx::{Connection, PgConnection};
use testkit::Postgres;
use tokio::time::sleep;

/// As many as a run of all tests has time for.
const FEW: usize = 8;

const FILES: [(&str, &str); 3] = [
    (
        "001_plain.sql",
        "CREATE TABLE log (what text);\nCREATE TABLE t (id int, a int);\nCREATE TABLE gone (a int);\nCREATE INDEX gone_a ON gone (a);",
    ),
    (
        "002_mixed.sql",
        "INSERT INTO log VALUES ('first');\n\
         CREATE INDEX CONCURRENTLY t_a ON t (a);\n\
         DROP INDEX CONCURRENTLY gone_a;\n\
         BEGIN;\nINSERT INTO log VALUES ('block');\nCOMMIT;\n\
         REINDEX INDEX CONCURRENTLY t_a;\n\
         COPY log FROM STDIN;\ncopied\n\\.\n\
         VACUUM t;\n",
    ),
    (
        "003_own.sql",
        "BEGIN;\nINSERT INTO log VALUES ('own');\nCOMMIT;",
    ),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kill {
    /// The runner, before the server has its message.
    Runner,
    /// The runner, once the server has it.
    RunnerAfter,
    /// Its sessions.
    Sessions,
    /// The server: one that loses a backend to SIGKILL stops all others on the spot and recovers.
    Server,
    /// The network, once the server has the message.
    CutAfter,
}

const KILLS: [Kill; 5] = [
    Kill::Runner,
    Kill::RunnerAfter,
    Kill::Sessions,
    Kill::Server,
    Kill::CutAfter,
];

/// When it happens.
#[derive(Clone, Copy, Debug)]
enum When {
    /// At a turn of the conversation.
    Turn(usize),
    /// While the index is being built, and waits for a writer.
    Building,
}

const OURS: &str = "FROM pg_stat_activity WHERE application_name LIKE 'sepulki/%' AND datname = current_database()";

/// One database, and the way to it.
struct Case {
    world: World,
    relay: Relay,
}

impl Case {
    async fn on(server: &'static Postgres) -> Self {
        // the server is this process's own, so that it may be killed
        let world = World::on(server).await;
        let relay = Relay::start(world.socket(), Startup::Forward).await;
        Self { world, relay }
    }

    fn start(&self, folder: &Path, arguments: &[&str]) -> Child {
        let (server, port) = (self.world.server, self.relay.port);
        let (user, name) = (&server.user, &self.world.database.name);
        Command::new(env!("CARGO_BIN_EXE_sepulki"))
            .args(["migrate", "up", "--dir"])
            .arg(folder)
            .args(arguments)
            .env_clear()
            .env(
                "DATABASE_URL",
                format!("postgresql://{user}@127.0.0.1:{port}/{name}?sslmode=disable"),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Waits for the end of a run; whether it went through.
    async fn ends(&self, run: &mut Child) -> bool {
        let wait = async {
            loop {
                if let Some(status) = run.try_wait().unwrap() {
                    return status.success();
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_mins(1), wait).await;
        ended.unwrap_or_else(|_| panic!("the run hangs"))
    }

    async fn kill(&self, kill: Kill, run: &mut Child) {
        match kill {
            Kill::Runner | Kill::RunnerAfter => run.kill().unwrap(),
            Kill::Sessions => {
                let sql = format!("SELECT count(pg_terminate_backend(pid)) {OURS}");
                self.world.one(&sql).await;
            }
            Kill::Server => {
                let victim = format!("SELECT coalesce(min(pid), pg_backend_pid()) {OURS}");
                let pid = self.world.one(&victim).await;
                let killed = Command::new("kill").args(["-9", &pid]).status().unwrap();
                assert!(killed.success());
            }
            Kill::CutAfter => {}
        }
    }

    /// The server takes connections, also after a crash.
    async fn is_up(&self) -> PgConnection {
        let options = self.world.database.superuser_options();
        let wait = async {
            loop {
                if let Ok(connection) = PgConnection::connect_with(&options).await {
                    return connection;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let up = tokio::time::timeout(Duration::from_mins(1), wait).await;
        up.unwrap_or_else(|_| panic!("the server stays away"))
    }

    /// Runs to the end, whatever still has to recover or to be let go.
    async fn finish(&self, folder: &Path) {
        for _ in 0..20 {
            let mut run = self.start(folder, &[]);
            if self.ends(&mut run).await {
                return;
            }
        }
        panic!("no run went through");
    }

    /// Everything that counts in the end.
    async fn end(&self) -> [String; 4] {
        let world = &self.world;
        let log = "SELECT string_agg(what, ',' ORDER BY what) FROM log";
        let notes = "SELECT count(*) FROM sepulki_engine.journal";
        [
            world.dump().await,
            world.one(log).await,
            world.versions().await.join(","),
            world.one(notes).await,
        ]
    }
}

/// Starts a run and kills; false where it ended before.
async fn disturb(case: &Case, folder: &Path, when: When, kill: Kill) -> bool {
    let accident = &case.relay.accident;
    accident
        .cuts_after
        .store(kill == Kill::CutAfter, Ordering::Relaxed);
    match when {
        When::Turn(turn) => {
            accident.turn.store(turn, Ordering::Relaxed);
            let mut run = case.start(folder, &[]);
            tokio::select! {
                biased;
                () = accident.reached.notified() => {}
                _ = case.ends(&mut run) => return false,
            }
            if kill == Kill::RunnerAfter {
                accident.go.notify_one();
                case.kill(kill, &mut run).await;
            } else {
                case.kill(kill, &mut run).await;
                accident.go.notify_one();
            }
            case.ends(&mut run).await;
        }
        When::Building => {
            let plain = FILES[0].0;
            let mut first = case.start(folder, &["--target", plain]);
            assert!(case.ends(&mut first).await);
            let mut writer = case.world.superuser().await;
            let write = "BEGIN; INSERT INTO t VALUES (1, 1)";
            sqlx::raw_sql(write).execute(&mut writer).await.unwrap();
            let mut run = case.start(folder, &[]);
            let building = "SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = current_database()";
            until(&mut case.is_up().await, building, "1").await;
            case.kill(kill, &mut run).await;
            case.ends(&mut run).await;
            // where the server is gone so is the writer
            let _gone = writer.close().await;
        }
    }
    true
}

#[expect(
    clippy::disallowed_methods,
    reason = "how often is for whoever starts the test"
)]
fn wanted() -> usize {
    std::env::var("KILLS").map_or(FEW, |n| n.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_for_real_the_end_is_the_same() {
    the_end_is_the_same_on(Postgres::shared().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_for_real_on_the_newest_server_the_end_is_the_same() {
    // it lives as long as the process
    let server = Box::leak(Box::new(Postgres::start_newest().await.unwrap()));
    the_end_is_the_same_on(server).await;
}

async fn the_end_is_the_same_on(server: &'static Postgres) {
    let wanted = wanted();
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in FILES {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let folder = folder.path();
    let undisturbed = Case::on(server).await;
    undisturbed.finish(folder).await;
    let turns = undisturbed.relay.turns.load(Ordering::Relaxed);
    let end = undisturbed.end().await;

    let building = [Kill::Runner, Kill::Sessions, Kill::Server];
    let building = building.map(|kill| (When::Building, kill));
    let places = wanted.saturating_sub(building.len()).max(1);
    // evenly over the turns, each way in its turn
    let sample = (0..places).map(|at| {
        let turn = 1 + at * turns / places;
        (When::Turn(turn), KILLS[at % KILLS.len()])
    });
    let (mut kills, mut cuts) = (0, 0);
    for (when, kill) in building.into_iter().chain(sample) {
        let case = Case::on(server).await;
        if disturb(&case, folder, when, kill).await {
            match kill {
                Kill::CutAfter => cuts += 1,
                Kill::Runner | Kill::RunnerAfter | Kill::Sessions | Kill::Server => kills += 1,
            }
        }
        case.is_up().await.close().await.unwrap();
        // the network is there again
        let again = Relay::start(case.world.socket(), Startup::Forward).await;
        let case = Case {
            relay: again,
            world: case.world,
        };
        case.finish(folder).await;
        assert_eq!(case.end().await, end, "{when:?}, {kill:?}");
    }
    let version = &server.version;
    println!(
        "PostgreSQL {version}: {kills} real kills and {cuts} cut connections, over {turns} turns"
    );
    assert!(10 * (kills + cuts) >= 9 * places, "only {kills} kills");
}
