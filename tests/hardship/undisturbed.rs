//! Environments that change, and what has to be there in the end whatever happened on the way: what an operator leaves that
//! nobody disturbed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use kube::api::ListParams;
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use testkit::operator::Tenant;

/// Roles and their access.
pub(crate) const ROLES: [(&str, &str); 3] = [
    ("clerk", "ReadWrite"),
    ("auditor", "ReadOnly"),
    ("chief", "Admin"),
];

/// An environment and what is asked of it by now.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) environment: &'static str,
    pub(crate) parent: Option<String>,
    pub(crate) files: usize,
    pub(crate) roles: usize,
    pub(crate) max_cu: f64,
    /// How often the logins are replaced and how long the ones before work; the default where nothing is asked.
    pub(crate) rotation: Option<(&'static str, &'static str)>,
}

impl Wanted {
    pub(crate) fn new(environment: &'static str, parent: Option<&str>, files: usize) -> Self {
        Self {
            environment,
            parent: parent.map(str::to_owned),
            files,
            roles: 2,
            max_cu: 1.0,
            rotation: None,
        }
    }

    pub(crate) fn objects(&self, name: &str) -> [Value; 2] {
        let roles: Vec<Value> = ROLES
            .iter()
            .take(self.roles)
            .map(|(role, access)| {
                let mut role = json!({ "name": role, "access": access });
                if let Some((every, overlap)) = self.rotation {
                    role["rotation"] = json!({ "every": every, "overlap": overlap });
                }
                role
            })
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
/// One branch and one compute per object, each file applied once, one login per role, every Secret opens, and there is
/// nothing else.
pub(crate) async fn as_if_undisturbed(
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
    bear_the_mark(tenant, wanted).await?;
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

/// Each branch that was made for an object says for which one.
async fn bear_the_mark(
    tenant: &Tenant<'_>,
    wanted: &BTreeMap<String, Wanted>,
) -> anyhow::Result<()> {
    let path = format!("/projects/{}/branches", tenant.project());
    let listed = tenant.platform().neon().get(&path).await?;
    for name in wanted.keys() {
        let object = tenant.database(name).get().await?;
        let mark = &listed["annotations"][object.branch_id()]["value"];
        let expected = if object.at("/status/branch/takenOver") == true {
            Value::Null
        } else {
            json!({
                "sepulki-installation": tenant.namespace(),
                "sepulki-namespace": tenant.namespace(),
                "sepulki-name": name,
            })
        };
        ensure!(*mark == expected, "{name}: its branch says {mark}");
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
