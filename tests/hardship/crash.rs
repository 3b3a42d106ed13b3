//! The operator is killed at random moments, again and again, while there is always work to do.
//!
//! What it leaves has to be what an operator leaves that nobody disturbed: one branch per object, each file applied once,
//! one login per role, nothing without an owner.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, ensure};
use kube::api::ListParams;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use testkit::operator::{Neon, Platform, Tenant};

use crate::OPERATOR;
use crate::scene::apply;

/// Kills.
const ROUNDS: usize = 24;

/// The longest life of an operator that is to be killed: about what the four environments need to converge.
const LONGEST_LIFE: Duration = Duration::from_millis(2500);

/// Set to repeat a run.
const SEED: &str = "SEPULKI_TEST_SEED";

/// Roles and their access.
const ROLES: [(&str, &str); 3] = [
    ("clerk", "ReadWrite"),
    ("auditor", "ReadOnly"),
    ("chief", "Admin"),
];

/// An environment and what is asked of it by now.
#[derive(Clone)]
struct Wanted {
    environment: &'static str,
    parent: Option<String>,
    files: usize,
    roles: usize,
    max_cu: f64,
}

impl Wanted {
    fn new(environment: &'static str, parent: Option<&str>, files: usize) -> Self {
        Self {
            environment,
            parent: parent.map(str::to_owned),
            files,
            roles: 2,
            max_cu: 1.0,
        }
    }

    fn objects(&self, name: &str) -> [Value; 2] {
        let roles: Vec<Value> = ROLES
            .iter()
            .take(self.roles)
            .map(|(role, access)| json!({ "name": role, "access": access }))
            .collect();
        let secrets: Vec<Value> = ROLES
            .iter()
            .take(self.roles)
            .map(|(role, _)| json!({ "name": format!("{name}-{role}"), "role": role, "database": "shop" }))
            .collect();
        let mut database = json!({
            "apiVersion": "sepulki.dev/v1alpha1",
            "kind": "NeonDatabase",
            "metadata": { "name": name },
            "spec": {
                "projectId": "${NEON_PROJECT_ID}",
                "environment": self.environment,
                "compute": { "minCU": 0.25, "maxCU": self.max_cu },
                "databases": [{ "name": "shop", "extensions": [{ "name": "pgcrypto" }] }, { "name": "audit" }],
                "roles": roles,
                "connectionSecrets": secrets,
            },
        });
        if let Some(parent) = &self.parent {
            database["spec"]["branch"] = json!({ "parent": { "databaseRef": { "name": parent } } });
        }
        let files: Vec<Value> = (1..=self.files).map(file).collect();
        let migration = json!({
            "apiVersion": "sepulki.dev/v1alpha1",
            "kind": "SepulkiMigration",
            "metadata": { "name": name },
            "spec": { "databaseRef": { "name": name }, "database": "shop", "source": { "inline": files } },
        });
        [database, migration]
    }
}

/// A file that tells how often it ran, and takes a moment.
fn file(number: usize) -> Value {
    let first = if number == 1 {
        "CREATE TABLE runs (file int NOT NULL);\n"
    } else {
        ""
    };
    let sql = format!(
        "{first}INSERT INTO runs VALUES ({number});\nCREATE TABLE t{number} (id int);\nSELECT pg_sleep(0.05);"
    );
    json!({ "name": version(number), "sql": sql })
}

fn version(number: usize) -> String {
    format!("{number:03}_file.sql")
}

#[tokio::test]
async fn killed_at_random_moments_it_ends_as_if_undisturbed() -> anyhow::Result<()> {
    let seed = match asked() {
        Some(text) => text.parse().context(SEED)?,
        None => rand::random(),
    };
    eprintln!("{SEED}={seed}");
    killed(seed).await.with_context(|| format!("{SEED}={seed}"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a person repeats a run of this test"
)]
fn asked() -> Option<String> {
    std::env::var(SEED).ok()
}

async fn killed(seed: u64) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    let platform = Platform::with_neon(Neon::config()).await?;
    let tenant = platform.tenant().await?;
    let mut wanted = BTreeMap::from([
        ("live".to_owned(), Wanted::new("production", None, 3)),
        (
            "rehearsal".to_owned(),
            Wanted::new("staging", Some("live"), 4),
        ),
        (
            "workbench".to_owned(),
            Wanted::new("development", Some("rehearsal"), 5),
        ),
        (
            "pr-0".to_owned(),
            Wanted::new("preview", Some("workbench"), 6),
        ),
    ]);
    for (name, one) in &wanted {
        apply(&tenant, &one.objects(name)).await?;
    }
    let mut deleted = BTreeSet::new();
    for round in 0..ROUNDS {
        let operator = start(&tenant).await?;
        let life = random.random_range(Duration::ZERO..LONGEST_LIFE);
        let end_of_life = tokio::time::sleep(life);
        change(&tenant, round, &mut wanted, &mut deleted).await?;
        end_of_life.await;
        operator.kill();
    }
    let _operator = start(&tenant).await?;
    for name in wanted.keys() {
        tenant.database(name).ready().await?;
        tenant.migration(name).ready().await?;
    }
    for name in &deleted {
        tenant.database(name).gone().await?;
    }
    as_if_undisturbed(&tenant, &wanted).await
}

async fn start(tenant: &Tenant<'_>) -> anyhow::Result<testkit::operator::Operator> {
    tenant
        .operator(OPERATOR)
        .flag("--snapshot-interval=1s")
        // the lease of one that was killed would have to run out first
        .flag("--leader-election=false")
        .start()
        .await
}

/// Asks for something else in each round, so that there is always something to be in the middle of.
async fn change(
    tenant: &Tenant<'_>,
    round: usize,
    wanted: &mut BTreeMap<String, Wanted>,
    deleted: &mut BTreeSet<String>,
) -> anyhow::Result<()> {
    let name = match round % 6 {
        0 => {
            let name = format!("pr-{}", round / 6 + 1);
            wanted.insert(name.clone(), Wanted::new("preview", Some("rehearsal"), 5));
            name
        }
        1 => "live".to_owned(),
        2 => "workbench".to_owned(),
        3 => "pr-0".to_owned(),
        4 => "rehearsal".to_owned(),
        _ => {
            let name = format!("pr-{}", round / 6 + 1);
            if round % 12 == 5 {
                tenant.migration(&name).delete().await?;
                tenant.database(&name).delete().await?;
                wanted.remove(&name);
                deleted.insert(name);
                return Ok(());
            }
            name
        }
    };
    let Some(one) = wanted.get_mut(&name) else {
        return Ok(());
    };
    one.files += 1;
    if round % 6 == 2 || round % 6 == 4 {
        one.roles = ROLES.len();
    }
    if round % 6 == 3 {
        one.max_cu += 1.0;
    }
    apply(tenant, &one.objects(&name)).await
}

async fn as_if_undisturbed(
    tenant: &Tenant<'_>,
    wanted: &BTreeMap<String, Wanted>,
) -> anyhow::Result<()> {
    let (neon, project) = (tenant.platform().neon(), tenant.project());
    let branches = neon.branches(project).await?;
    let endpoints = neon.endpoints(project).await?;
    let mut ids = BTreeSet::new();
    for (name, one) in wanted {
        let object = tenant.database(name).get().await?;
        let id = object.branch_id().to_owned();
        let mine: Vec<&Value> = endpoints.iter().filter(|e| e["branch_id"] == id).collect();
        ensure!(mine.len() == 1, "{name} has {} endpoints", mine.len());
        ensure!(
            mine[0]["autoscaling_limit_max_cu"] == one.max_cu,
            "{name}: {}",
            mine[0]
        );
        ids.insert(id);
    }
    let listed: BTreeSet<String> = branches
        .iter()
        .filter_map(|branch| branch["id"].as_str().map(str::to_owned))
        .collect();
    ensure!(ids.len() == wanted.len(), "two objects have one branch");
    ensure!(ids == listed, "branches without an object: {branches:?}");
    ensure!(endpoints.len() == wanted.len(), "endpoints: {endpoints:?}");
    secrets(tenant, wanted).await?;
    for (name, one) in wanted {
        inside(tenant, name, one)
            .await
            .with_context(|| format!("inside of {name}"))?;
    }
    Ok(())
}

/// Exactly the Secrets that are asked for, and each opens.
async fn secrets(tenant: &Tenant<'_>, wanted: &BTreeMap<String, Wanted>) -> anyhow::Result<()> {
    let list = tenant.secrets().list(&ListParams::default()).await?;
    let found: BTreeSet<String> = list
        .items
        .into_iter()
        .filter_map(|secret| secret.metadata.name)
        .collect();
    let mut expected = BTreeSet::from([testkit::operator::tenant::KEY_SECRET.to_owned()]);
    for (name, one) in wanted {
        for (role, _) in ROLES.iter().take(one.roles) {
            let secret = format!("{name}-{role}");
            let session = tenant.published(&secret).await?.direct().await;
            session.with_context(|| secret.clone())?.close().await?;
            expected.insert(secret);
        }
    }
    ensure!(
        found == expected,
        "Secrets: {found:?}, asked for {expected:?}"
    );
    Ok(())
}

/// Each file once, and no login but those of the spec's roles and those of Neon's API.
async fn inside(tenant: &Tenant<'_>, name: &str, one: &Wanted) -> anyhow::Result<()> {
    let mut session = owner(tenant, name).await?;
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT m.version::text, (SELECT count(*) FROM runs r WHERE m.version LIKE '%' || lpad(r.file::text, 3, '0') || '_file.sql')
         FROM schema_migrations m ORDER BY m.version",
    )
    .fetch_all(&mut session)
    .await?;
    // what its parent had applied by the time of the fork may be more than it asks for itself
    let expected: Vec<(String, i64)> = (1..=one.files.max(rows.len()))
        .map(|number| (version(number), 1))
        .collect();
    ensure!(
        rows == expected,
        "files and how often they ran: {rows:?}, asked for {}",
        one.files
    );
    let logins = "SELECT r.rolname::text FROM pg_roles r WHERE r.rolcanlogin AND NOT r.rolsuper
        AND NOT EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles s ON s.oid = m.roleid
                        WHERE m.member = r.oid AND s.rolname = 'neon_superuser') ORDER BY 1";
    let logins: Vec<String> = sqlx::query_scalar(AssertSqlSafe(logins))
        .fetch_all(&mut session)
        .await?;
    session.close().await?;
    let mut expected = Vec::new();
    for (role, _) in ROLES.iter().take(one.roles) {
        let secret = tenant.published(&format!("{name}-{role}")).await?;
        let login = secret.field("PGUSER")?.to_owned();
        ensure!(login.starts_with(role), "{login} is no login of {role}");
        expected.push(login);
    }
    expected.sort();
    ensure!(
        logins == expected,
        "logins: {logins:?}, published {expected:?}"
    );
    Ok(())
}

async fn owner(tenant: &Tenant<'_>, name: &str) -> anyhow::Result<PgConnection> {
    let neon = tenant.platform().neon();
    let object = tenant.database(name).get().await?;
    let password = neon
        .password(tenant.project(), object.branch_id(), "shop_owner")
        .await?;
    let options = PgConnectOptions::new()
        .host(object.text("/status/endpoint/host"))
        .port(neon.emulator().pg_port())
        .username("shop_owner")
        .password(&password)
        .database("shop")
        .ssl_mode(PgSslMode::VerifyFull)
        .ssl_root_cert(neon.emulator().ca_path());
    options.connect().await.context("connect as the owner")
}
