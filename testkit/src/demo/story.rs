//! What the demo shows, scene by scene. Whatever a scene claims, it checks.

use anyhow::{Context, bail, ensure};
use kube::Client;

use super::{
    checkout::{self, NEW_FILE},
    shell::Shell,
    watch::{self, States},
};
use crate::{
    environment::{Branch, Environment, Lock, Places},
    progress::{note, say, styled},
};

/// The environments of deploy/examples.
const ENVIRONMENTS: [&str; 3] = ["production", "staging", "preview"];
/// The one of deploy/examples/pull-request.
const PULL_REQUEST: &str = "preview-42";
/// The file up to which staging and production are migrated at first.
const OLD_TARGET: &str = "003_add_telemetry_tables.sql";
/// The role that applications act as.
const APPLICATION_ROLE: &str = "sepulki_app";

/// Defined in the session: the connection URL that an environment's Secret holds.
const URL: &str = r#"url() { kubectl -n sepulki get secret "$1" -o go-template='{{.data.DATABASE_URL | base64decode}}'; }"#;
/// Defined in the session: which environments' databases have the column of the new migration.
const COLUMN: &str = r#"column() { for name; do psql -XAtc "SELECT '$name: ' || coalesce(max(udt_name), 'no such column') FROM information_schema.columns WHERE table_name = 'robots' AND column_name = 'firmware_channel'" "$(url "$name")"; done; }"#;

/// Everything a scene needs.
struct Stage<'a> {
    places: &'a Places,
    environment: Environment,
    client: Client,
    shell: Shell,
    /// Tables of the schema before the new migration.
    tables: Vec<String>,
}

/// Starts the environment and plays all scenes.
pub(crate) async fn tell(places: &Places, lock: &Lock) -> anyhow::Result<()> {
    scene("1. A Kubernetes API server, Neon over real PostgreSQL, and the operator");
    let environment = Environment::up(places, lock).await?;
    let checkout = checkout::make(&places.run_dir)?;
    let mut tables = checkout::tables(&checkout)?;
    tables.push("schema_migrations".to_owned());
    let mut stage = Stage {
        places,
        client: environment.cluster.client().await?,
        environment,
        shell: Shell::new(checkout.clone()),
        tables,
    };

    scene("2. Three environments from YAML");
    say(&format!(
        "# a copy of this repository's manifests and migrations\n$ cd {}",
        checkout.display()
    ));
    stage.environments_come_up().await?;
    scene("3. What an application gets: a Secret that works");
    stage.the_secret_works().await?;
    scene("4. Pull request 42 brings a migration, and gets a preview of its own");
    stage.a_pull_request_is_opened().await?;
    scene("5. Merged: first staging, then production");
    stage.it_is_merged().await?;
    scene("6. The pull request is closed, its preview goes");
    let gone = stage.the_pull_request_is_closed().await?;
    scene("7. At the end");
    stage.at_the_end(&gone).await
}

fn scene(title: &str) {
    say("");
    say(&styled("1;36", &format!("=== {title}")));
    say("");
}

impl Stage<'_> {
    async fn environments_come_up(&mut self) -> anyhow::Result<()> {
        self.shell.define(". ../env");
        for line in [
            r#"echo "NEON_PROJECT_ID=$NEON_PROJECT_ID" > deploy/examples/project/project.env"#,
            "kubectl apply -f deploy/examples/namespace.yaml",
            r#"kubectl -n sepulki create secret generic neon-api-key --from-literal=apiKey="$NEON_API_KEY""#,
            "kubectl apply --server-side -k deploy/examples",
        ] {
            self.shell.run(line).await?;
        }
        self.until_ready(&ENVIRONMENTS, |_| true).await?;
        self.shell
            .run("kubectl -n sepulki wait --for=condition=Ready neondb,sepmig --all --timeout=60s")
            .await?;
        self.shell
            .run("kubectl -n sepulki get neondb,sepmig")
            .await?;
        Ok(())
    }

    async fn the_secret_works(&mut self) -> anyhow::Result<()> {
        self.shell.define(URL);
        let url = self
            .shell
            .run("url production | sed -E 's#:[^:@/]+@#:***@#'")
            .await?;
        let login = url
            .strip_prefix("postgresql://")
            .and_then(|rest| rest.split_once(':'))
            .map(|(login, _)| login)
            .context("the Secret holds no URL with a login")?;
        ensure!(
            url.contains("sslmode=verify-full"),
            "the Secret's URL does not ask for verify-full"
        );
        let who = self
            .shell
            .run(r#"psql -XAtc "SELECT session_user || ' acts as ' || current_user" "$(url production)""#)
            .await?;
        let expected = format!("{login} acts as {APPLICATION_ROLE}");
        ensure!(who.trim() == expected, "expected `{expected}`");
        let listed = self
            .shell
            .run(r#"psql -X -c '\conninfo' -c '\dt' "$(url production)""#)
            .await?;
        for table in &self.tables {
            let row = format!("| {table} ");
            ensure!(listed.contains(&row), "the table {table} is not listed");
        }
        Ok(())
    }

    async fn a_pull_request_is_opened(&mut self) -> anyhow::Result<()> {
        for line in [
            format!("cp ../{NEW_FILE} migrations/"),
            format!("cat migrations/{NEW_FILE}"),
            format!("echo '      - {NEW_FILE}' >> migrations/kustomization.yaml"),
            "kubectl apply --server-side -k deploy/examples/pull-request".to_owned(),
        ] {
            self.shell.run(&line).await?;
        }
        self.until_ready(&[PULL_REQUEST], |states| {
            has_reached_new(states, PULL_REQUEST)
        })
        .await?;
        self.shell.define(COLUMN);
        self.expect_column(&[PULL_REQUEST], &["staging", "production"])
            .await
    }

    async fn it_is_merged(&self) -> anyhow::Result<()> {
        self.promote("staging").await?;
        self.expect_column(&[PULL_REQUEST, "preview", "staging"], &["production"])
            .await?;
        say("");
        self.promote("production").await?;
        self.expect_column(&[PULL_REQUEST, "preview", "staging", "production"], &[])
            .await
    }

    async fn until_ready(
        &self,
        names: &[&str],
        also: impl Fn(&States) -> bool,
    ) -> anyhow::Result<()> {
        watch::until_ready(&self.client, self.places, names, also).await
    }

    /// Raises an environment's target in its manifest, and applies everything.
    async fn promote(&self, name: &str) -> anyhow::Result<()> {
        self.shell
            .run(&format!(
                "sed -i 's/version: {OLD_TARGET}/version: {NEW_FILE}/' deploy/examples/{name}.yaml"
            ))
            .await?;
        self.shell
            .run("kubectl apply --server-side -k deploy/examples")
            .await?;
        self.until_ready(&ENVIRONMENTS, |states| {
            has_reached_new(states, name) && has_reached_new(states, "preview")
        })
        .await
    }

    /// Shows which databases have the new column, and checks it.
    async fn expect_column(&self, with: &[&str], without: &[&str]) -> anyhow::Result<()> {
        let names = [with, without].concat().join(" ");
        let output = self.shell.run(&format!("column {names}")).await?;
        let expected: Vec<_> = with
            .iter()
            .map(|name| format!("{name}: firmware_channel"))
            .chain(without.iter().map(|name| format!("{name}: no such column")))
            .collect();
        ensure!(
            output.lines().eq(expected.iter().map(String::as_str)),
            "expected:\n{}",
            expected.join("\n")
        );
        Ok(())
    }

    /// Gives the branch that is gone afterwards.
    async fn the_pull_request_is_closed(&self) -> anyhow::Result<Branch> {
        let mut before = self.show_branches().await?;
        let ours = format!("/{PULL_REQUEST}");
        let index = before
            .iter()
            .position(|branch| branch.name.ends_with(&ours))
            .context("the pull request's preview has no branch")?;
        let branch = before.swap_remove(index);
        self.shell
            .run("kubectl delete -k deploy/examples/pull-request --timeout=2m")
            .await?;
        Ok(branch)
    }

    async fn at_the_end(&self, gone: &Branch) -> anyhow::Result<()> {
        self.shell
            .run("kubectl -n sepulki get neondb,sepmig")
            .await?;
        let states = watch::states(&self.client).await?;
        let ready = states.values().filter(|state| state.ready).count();
        ensure!(
            states.len() == 6 && ready == 6,
            "expected three NeonDatabases and three SepulkiMigrations, all Ready"
        );
        let tables = self
            .shell
            .run(r#"psql -XAtc "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'" "$(url production)""#)
            .await?;
        let tables = tables.split_whitespace().count();
        ensure!(
            tables == self.tables.len(),
            "expected {} tables",
            self.tables.len()
        );
        let branches = self.show_branches().await?;
        if branches.iter().any(|branch| branch.id == gone.id) {
            bail!(
                "the branch {} of the deleted preview is still there",
                gone.id
            );
        }
        ensure!(branches.len() == 3, "expected three branches");
        say("");
        for line in [
            "three NeonDatabases and three SepulkiMigrations are Ready".to_owned(),
            format!("production has {tables} tables, and the new column as staging and preview do"),
            format!("branch {} ({}) went with its preview", gone.name, gone.id),
        ] {
            say(&format!("{} {line}", styled("32", "ok")));
        }
        Ok(())
    }

    async fn show_branches(&self) -> anyhow::Result<Vec<Branch>> {
        let project = &self.environment.neon_project_id;
        let branches = self.environment.neon()?.branches(project).await?;
        say("# Neon's branches: GET $NEON_API_HOST/projects/$NEON_PROJECT_ID/branches");
        for branch in &branches {
            let parent = branches
                .iter()
                .find(|other| Some(&other.id) == branch.parent_id.as_ref())
                .map_or(String::new(), |parent| format!("child of {}", parent.name));
            note(format!("{:<28} {:<28} {parent}", branch.id, branch.name).trim_end());
        }
        Ok(branches)
    }
}

fn has_reached_new(states: &States, name: &str) -> bool {
    states
        .get(&format!("sepmig/{name}"))
        .is_some_and(|state| state.reached.ends_with(NEW_FILE))
}
