//! What the tests of the engine on real PostgreSQL share: a database of their own, runs, and
//! looking at the result as the superuser.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "a test says what it expects by failing; not every test binary uses every helper"
)]

mod catalog;
pub(crate) mod relay;
pub(crate) mod slow;

use std::{
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use relay::Relay;
use sepulki::{
    engine::{
        Bundle, Diagnostic, LedgerName, Policies, SourceFile,
        run::{Execution, Progress, RunError, RunReport, RunRequest, Timeouts, apply},
    },
    postgres::{Target, Tls},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use testkit::postgres::{Database, Postgres};
use tokio_util::sync::CancellationToken;

/// Makes sure that `words` are said, and that a row of the document of bad input tells what to do about them.
pub(crate) fn documented(said: &str, words: &str) {
    assert!(said.contains(words), "no {words:?} in: {said}");
    let is_row = include_str!("../../docs/bad-input.md").contains(&format!("| `{words}` |"));
    assert!(is_row, "docs/bad-input.md has no row with: {words}");
}

/// A database of one test, reached as its owner.
pub(crate) struct World {
    pub(crate) server: &'static Postgres,
    pub(crate) database: Database,
}

pub(crate) fn file(name: &str, text: &str) -> SourceFile {
    SourceFile {
        name: name.into(),
        bytes: text.as_bytes().to_vec(),
    }
}

pub(crate) fn bundle(files: &[(&str, &str)]) -> Arc<Bundle> {
    let files = files.iter().map(|(name, text)| file(name, text)).collect();
    Arc::new(Bundle::compile(files).unwrap())
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::on(Postgres::shared().await.unwrap()).await
    }

    pub(crate) async fn on(server: &'static Postgres) -> Self {
        let database = server.database().await.unwrap();
        Self { server, database }
    }

    /// Everything that is in the database but the engine's own, as the catalogs have it.
    pub(crate) async fn catalog(&self) -> String {
        let mut session = self.superuser().await;
        // so that every name is told with its schema
        sqlx::raw_sql("SET search_path = ''")
            .execute(&mut session)
            .await
            .unwrap();
        let catalog = value(&mut session, catalog::SQL).await;
        session.close().await.unwrap();
        catalog
    }

    /// What the end of a run is compared by: the catalogs and, where the server comes with `pg_dump`, what that one shows.
    pub(crate) async fn dump(&self) -> String {
        let catalog = self.catalog().await;
        let program = self.server.bin_dir.join("pg_dump");
        if !program.exists() {
            return catalog;
        }
        let output = Command::new(program)
            .args(["-s", "-O", "-N", "sepulki_engine", "-U", &self.server.user])
            .args(["-p", &self.server.port.to_string(), "-h"])
            .arg(&self.server.socket_dir)
            .arg(&self.database.name)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('\\'));
        let all: Vec<&str> = [catalog.as_str()].into_iter().chain(lines).collect();
        all.join("\n")
    }

    pub(crate) fn target(&self) -> Target {
        Target {
            host: self.server.host.clone(),
            port: self.server.port,
            user: self.database.owner.clone(),
            password: self.database.owner_password.clone().into(),
            database: self.database.name.clone(),
            tls: Tls::Ca(self.server.ca_pem.clone()),
        }
    }

    /// A run of everything, as impatient as tests are.
    pub(crate) fn request(&self, bundle: &Arc<Bundle>) -> RunRequest {
        RunRequest {
            target: self.target(),
            ledger: LedgerName::default(),
            bundle: bundle.clone(),
            until: None,
            holder: "test".into(),
            timeouts: Timeouts {
                connect: Duration::from_secs(20),
                other_run: Duration::from_secs(20),
                lock: Duration::from_millis(200),
                retries: 20,
                ..Timeouts::default()
            },
            execution: Execution::default(),
            policies: Policies::default(),
            cancel: CancellationToken::new(),
        }
    }

    pub(crate) async fn run(&self, files: &[(&str, &str)]) -> Result<RunReport, RunError> {
        apply(self.request(&bundle(files)), |_| {}).await
    }

    /// Runs and expects a file to fail.
    pub(crate) async fn fails(&self, files: &[(&str, &str)]) -> Diagnostic {
        match self.run(files).await {
            Err(RunError::Failed(diagnostic)) => *diagnostic,
            other => panic!("expected a failing file, got {other:?}"),
        }
    }

    /// The superuser by way of a relay, without TLS.
    pub(crate) fn target_by(&self, relay: &Relay) -> Target {
        Target {
            host: "127.0.0.1".into(),
            port: relay.port,
            user: self.server.user.clone(),
            tls: Tls::Disable,
            ..self.target()
        }
    }

    /// Where a relay finds the server.
    pub(crate) fn socket(&self) -> std::path::PathBuf {
        let name = format!(".s.PGSQL.{}", self.server.port);
        self.server.socket_dir.join(name)
    }

    /// A session of the superuser in this database.
    pub(crate) async fn superuser(&self) -> PgConnection {
        PgConnection::connect_with(&self.database.superuser_options())
            .await
            .unwrap()
    }

    /// The same, which has done this.
    pub(crate) async fn superuser_after(&self, sql: &str) -> PgConnection {
        let mut connection = self.superuser().await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut connection)
            .await
            .unwrap();
        connection
    }

    pub(crate) async fn execute(&self, sql: &str) {
        let connection = self.superuser_after(sql).await;
        connection.close().await.unwrap();
    }

    /// The first column of the first row, as text.
    pub(crate) async fn one(&self, sql: &str) -> String {
        let mut connection = self.superuser().await;
        let text = value(&mut connection, sql).await;
        connection.close().await.unwrap();
        text
    }

    /// The recorded versions, in order.
    pub(crate) async fn versions(&self) -> Vec<String> {
        let exists = self
            .one("SELECT to_regclass('public.schema_migrations') IS NOT NULL")
            .await;
        if exists != "true" {
            return Vec::new();
        }
        let list = "SELECT coalesce(string_agg(version, ',' ORDER BY version), '') FROM public.schema_migrations";
        let list = self.one(list).await;
        list.split(',')
            .filter(|v| !v.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// The tables of `public`, in order, but for the ledger.
    pub(crate) async fn tables(&self) -> String {
        self.one(
            "SELECT coalesce(string_agg(relname, ',' ORDER BY relname), '') FROM pg_class \
             WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'schema_migrations'",
        )
        .await
    }

    /// Waits until `sql` answers `expected`.
    pub(crate) async fn until(&self, sql: &str, expected: &str) {
        until(&mut self.superuser().await, sql, expected).await;
    }
}

/// Waits until `sql` answers `expected`.
pub(crate) async fn until(connection: &mut PgConnection, sql: &str, expected: &str) {
    let wait = async {
        while value(connection, sql).await != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), wait).await;
    assert!(waited.is_ok(), "{sql} never answered {expected}");
}

/// The first column of the first row, as text.
pub(crate) async fn value(connection: &mut PgConnection, sql: &str) -> String {
    let sql = format!("SELECT ({sql})::text");
    let row = sqlx::raw_sql(AssertSqlSafe(sql))
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    row.get(0)
}

/// Collects what a run tells.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<Progress>>>);

impl Told {
    pub(crate) fn sink(&self) -> impl FnMut(Progress) + Send + use<> {
        let list = self.0.clone();
        move |progress| list.lock().unwrap().push(progress)
    }

    pub(crate) fn all(&self) -> Vec<Progress> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, wanted: impl Fn(&Progress) -> bool) -> usize {
        self.all()
            .iter()
            .filter(|progress| wanted(progress))
            .count()
    }
}
