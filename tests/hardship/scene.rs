//! A small healthy environment, in which one thing after the other goes wrong, and ways to see that nothing else did.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::{Context, ensure};
use kube::api::ListParams;
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use testkit::operator::{Handle, Object, Operator, Platform, Tenant};

use crate::OPERATOR;
use crate::manifests::{DATABASE, OWNER, inline, migration, production};

/// A namespace with a production database that is ready, and its operator.
pub(crate) struct Scene<'a> {
    pub(crate) tenant: Tenant<'a>,
    pub(crate) operator: Operator,
    branch: String,
    host: String,
}

/// Everything that a mistake could have touched.
#[derive(Debug, PartialEq)]
pub(crate) struct World {
    /// Relations and functions in the database, and the rows of every ledger.
    pub(crate) catalog: BTreeSet<String>,
    /// Branches and endpoints, with the time of their last change.
    pub(crate) neon: BTreeSet<String>,
    /// Secrets and their versions.
    pub(crate) secrets: BTreeSet<String>,
}

impl<'a> Scene<'a> {
    /// In the shared platform.
    pub(crate) async fn new() -> anyhow::Result<Scene<'static>> {
        Scene::on(Platform::shared().await?).await
    }

    /// In a platform of one's own.
    pub(crate) async fn on(platform: &'a Platform) -> anyhow::Result<Self> {
        let tenant = platform.tenant().await?;
        let operator = start(&tenant).await?;
        apply(&tenant, &[production()]).await?;
        let live = tenant.database("live").ready().await?;
        Ok(Self {
            branch: live.branch_id().to_owned(),
            host: live.text("/status/endpoint/host").to_owned(),
            tenant,
            operator,
        })
    }

    /// Kills the operator and starts it again.
    pub(crate) async fn restart(&mut self) -> anyhow::Result<()> {
        let next = start(&self.tenant).await?;
        std::mem::replace(&mut self.operator, next).kill();
        Ok(())
    }

    /// Applies objects.
    pub(crate) async fn apply(&self, objects: &[Value]) -> anyhow::Result<()> {
        apply(&self.tenant, objects).await
    }

    /// A session as the database's owner.
    pub(crate) async fn session(&self) -> anyhow::Result<PgConnection> {
        let neon = self.tenant.platform().neon();
        let project = self.tenant.project();
        let password = neon.password(project, &self.branch, OWNER).await?;
        let options = PgConnectOptions::new()
            .host(&self.host)
            .port(neon.emulator().pg_port())
            .username(OWNER)
            .password(&password)
            .database(DATABASE)
            .ssl_mode(PgSslMode::VerifyFull)
            .ssl_root_cert(neon.emulator().ca_path());
        options.connect().await.context("connect as the owner")
    }

    /// Runs SQL as the database's owner.
    pub(crate) async fn run(&self, sql: &str) -> anyhow::Result<()> {
        let mut session = self.session().await?;
        session.execute(AssertSqlSafe(sql)).await?;
        session.close().await?;
        Ok(())
    }

    /// The first column of what a query finds.
    pub(crate) async fn ask(&self, sql: &str) -> anyhow::Result<Vec<String>> {
        let mut session = self.session().await?;
        let rows = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_all(&mut session)
            .await?;
        session.close().await?;
        Ok(rows)
    }

    /// The versions in a ledger, in order.
    pub(crate) async fn versions(&self, ledger: &str) -> anyhow::Result<Vec<String>> {
        self.ask(&format!("SELECT version FROM {ledger} ORDER BY version"))
            .await
    }

    /// How it all stands now.
    pub(crate) async fn world(&self) -> anyhow::Result<World> {
        let mut catalog: BTreeSet<String> = self
            .ask(
                "SELECT relkind::text || ' ' || relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
                 UNION ALL SELECT 'f ' || proname FROM pg_proc WHERE proowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)
                 UNION ALL SELECT 'role ' || rolname || rolcanlogin FROM pg_roles",
            )
            .await?
            .into_iter()
            .collect();
        for ledger in self
            .ask(
                "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relname LIKE 'ledger%'",
            )
            .await?
        {
            let rows = self.ask(&format!("SELECT t::text FROM {ledger} t")).await?;
            catalog.extend(rows.into_iter().map(|row| format!("{ledger} {row}")));
        }
        Ok(World {
            catalog,
            neon: neon(&self.tenant).await?,
            secrets: secrets(&self.tenant).await?,
        })
    }

    /// Shows that others are served beside what is wrong: what was ready is, and something new becomes so.
    pub(crate) async fn others_go_on(&self) -> anyhow::Result<()> {
        let live = self.tenant.database("live").get().await?;
        ensure!(live.is_ready(), "live: {}", live.summary());
        let table = format!("neighbour_{}", fresh());
        let sql = format!("CREATE TABLE {table} (id int)");
        let name = table.replace('_', "-");
        self.apply(&[migration(&name, inline(&[("001_a.sql", &sql)]))])
            .await?;
        self.tenant.migration(&name).ready().await?;
        Ok(())
    }
}

/// Starts the operator for a tenant, looking at Neon every two seconds.
pub(crate) async fn start(tenant: &Tenant<'_>) -> anyhow::Result<Operator> {
    tenant
        .operator(OPERATOR)
        .flag("--snapshot-interval=2s")
        .flag("--leader-election=false")
        .start()
        .await
}

/// Applies objects.
pub(crate) async fn apply(tenant: &Tenant<'_>, objects: &[Value]) -> anyhow::Result<()> {
    let mut yaml = String::new();
    for object in objects {
        writeln!(yaml, "---\n{object}")?;
    }
    tenant.apply(&yaml).await
}

/// The project's branches and endpoints.
pub(crate) async fn neon(tenant: &Tenant<'_>) -> anyhow::Result<BTreeSet<String>> {
    let (neon, project) = (tenant.platform().neon(), tenant.project());
    let mut all = neon.branches(project).await?;
    all.extend(neon.endpoints(project).await?);
    let line = |one: &Value| {
        format!(
            "{} {} {}",
            one["id"], one["name"], one["autoscaling_limit_max_cu"]
        )
    };
    Ok(all.iter().map(line).collect())
}

/// The namespace's Secrets with their versions.
pub(crate) async fn secrets(tenant: &Tenant<'_>) -> anyhow::Result<BTreeSet<String>> {
    let list = tenant.secrets().list(&ListParams::default()).await?;
    Ok(list
        .items
        .into_iter()
        .map(|secret| {
            format!(
                "{:?} {:?}",
                secret.metadata.name, secret.metadata.resource_version
            )
        })
        .collect())
}

/// Waits until an object says that a person has to change something, for this reason, and tells each of these parts.
pub(crate) async fn stalled(
    object: &Handle<'_>,
    reason: &str,
    parts: &[&str],
) -> anyhow::Result<Object> {
    let message = object.says("Stalled", "True", reason).await?;
    let object = object.get().await?;
    ensure!(
        object.says("Ready", "False", reason),
        "Ready says something else: {}",
        object.summary()
    );
    ensure!(
        object.condition("Reconciling").0 == "False",
        "both: {}",
        object.summary()
    );
    tells(&message, parts)?;
    tells(object.condition("Ready").2, parts)?;
    Ok(object)
}

/// Waits until an object says that it waits by itself, for this reason, and tells each of these parts.
pub(crate) async fn waits(
    object: &Handle<'_>,
    reason: &str,
    parts: &[&str],
) -> anyhow::Result<Object> {
    let message = object.says("Reconciling", "True", reason).await?;
    let object = object.get().await?;
    ensure!(
        object.says("Ready", "False", reason) && object.condition("Stalled").0 == "False",
        "{}",
        object.summary()
    );
    tells(&message, parts)?;
    Ok(object)
}

/// Whether a message holds each of these parts.
pub(crate) fn tells(message: &str, parts: &[&str]) -> anyhow::Result<()> {
    for part in parts {
        ensure!(message.contains(part), "{part:?} is not in: {message}");
    }
    Ok(())
}

/// Shows that the API server refuses a change with these words, and that the object is as before.
pub(crate) async fn refuses(
    object: &Handle<'_>,
    spec: Value,
    parts: &[&str],
) -> anyhow::Result<()> {
    let before = object.get().await?;
    match object.patch(json!({ "spec": spec })).await {
        Ok(_) => anyhow::bail!("accepted: {spec}"),
        Err(error) => tells(&format!("{error:#}"), parts).with_context(|| spec.to_string())?,
    }
    let after = object.get().await?;
    ensure!(after.generation() == before.generation(), "it was changed");
    Ok(())
}

/// A number that no other call has got.
fn fresh() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
