//! Neon refuses, fails, is slow, loses answers, shows what is over and leaves operations undone, and the operator is killed
//! at random moments meanwhile, while there is always something to do.
//!
//! Nothing may be lost and nothing doubled by that: in the end everything is as if nobody had disturbed it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sepulki::clock::{Clock, SystemClock};
use serde_json::json;
use testkit::operator::{Neon, Operator, Platform, Tenant};

use crate::OPERATOR;
use crate::misbehaviour::{BRANCH, BRANCHES, ENDPOINT, PROJECT, RESTORE, fault};
use crate::scene::apply;
use crate::seed::{SEED, seed};
use crate::undisturbed::{ROLES, Wanted, as_if_undisturbed};

/// Environments of their own that go through this at the same time, each with its Neon and its operator.
const WORLDS: u64 = 3;

/// Changes of each world: each with faults, and a kill.
const ROUNDS: usize = 18;

/// The longest life of an operator that is to be killed.
const LONGEST_LIFE: Duration = Duration::from_millis(1500);

/// The faults that nothing has met by then are over after so many rounds; an operation that hangs goes on.
const CLEARED_EVERY: usize = 3;

#[tokio::test]
async fn whatever_neon_does_nothing_is_lost_and_nothing_doubled() -> anyhow::Result<()> {
    let seed = seed()?;
    let worlds = (0..WORLDS).map(|world| disturbed(seed.wrapping_add(world)));
    let tallies = futures::future::try_join_all(worlds)
        .await
        .with_context(|| format!("{SEED}={seed}"))?;
    let all = tallies.into_iter().fold(Tally::default(), Tally::plus);
    println!("{all}");
    ensure!(all.rounds >= 50, "{all}");
    ensure!(all.met >= 10, "hardly a fault was met: {all}");
    Ok(())
}

/// What happened. A round ends with a kill.
#[derive(Clone, Copy, Default)]
struct Tally {
    rounds: u32,
    set: u32,
    met: u32,
}

impl Tally {
    fn plus(self, other: Self) -> Self {
        Self {
            rounds: self.rounds + other.rounds,
            set: self.set + other.set,
            met: self.met + other.met,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, set, met } = self;
        write!(
            f,
            "{rounds} rounds, {rounds} kills, {set} faults set, {met} met"
        )
    }
}

async fn disturbed(seed: u64) -> anyhow::Result<Tally> {
    let platform = Platform::with_neon(Neon::config()).await?;
    let tenant = platform.tenant().await?;
    let mut world = World::new(&tenant, StdRng::seed_from_u64(seed)).await?;
    for round in 0..ROUNDS {
        world
            .round(round)
            .await
            .with_context(|| format!("round {round}"))?;
    }
    world.settles().await?;
    Ok(world.tally)
}

/// What is asked for in a round.
#[derive(Clone, Copy)]
enum Change {
    Create,
    Files,
    Resize,
    Reset,
    Role,
    Settings,
    Rotate,
    Delete,
    TakeSecretAway,
}

impl Change {
    const ALL: [Self; 9] = [
        Self::Create,
        Self::Files,
        Self::Resize,
        Self::Reset,
        Self::Role,
        Self::Settings,
        Self::Rotate,
        Self::Delete,
        Self::TakeSecretAway,
    ];

    /// The call that is made for it; none where it is a matter of SQL and of Kubernetes.
    fn call(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Create => Some(("POST", BRANCHES)),
            Self::Resize => Some(("PATCH", ENDPOINT)),
            Self::Reset => Some(("POST", RESTORE)),
            Self::Settings => Some(("PATCH", PROJECT)),
            Self::Delete => Some(("DELETE", BRANCH)),
            Self::Files | Self::Role | Self::Rotate | Self::TakeSecretAway => None,
        }
    }
}

/// An environment, what is asked of it by now, and what it went through.
struct World<'a> {
    tenant: &'a Tenant<'a>,
    random: StdRng,
    wanted: BTreeMap<String, Wanted>,
    deleted: BTreeSet<String>,
    previews: usize,
    retention_days: u32,
    /// Faults that were set since the last time that they were counted.
    open: u32,
    tally: Tally,
    /// Every password that was ever published.
    passwords: BTreeSet<String>,
}

impl<'a> World<'a> {
    async fn new(tenant: &'a Tenant<'a>, random: StdRng) -> anyhow::Result<Self> {
        let wanted = BTreeMap::from([
            ("live".to_owned(), Wanted::new("production", None, 2)),
            (
                "rehearsal".to_owned(),
                Wanted::new("staging", Some("live"), 3),
            ),
            (
                "pr-0".to_owned(),
                Wanted::new("preview", Some("rehearsal"), 4),
            ),
        ]);
        let world = Self {
            tenant,
            random,
            wanted,
            deleted: BTreeSet::new(),
            previews: 0,
            retention_days: 1,
            open: 0,
            tally: Tally::default(),
            passwords: BTreeSet::new(),
        };
        for (name, one) in &world.wanted {
            apply(tenant, &one.objects(name)).await?;
        }
        world.ask_for_settings().await?;
        Ok(world)
    }

    /// Something else is asked for, Neon misbehaves, and the operator is killed.
    async fn round(&mut self, round: usize) -> anyhow::Result<()> {
        if round.is_multiple_of(CLEARED_EVERY) {
            self.clear_faults();
        }
        let operator = start(self.tenant).await?;
        let life = self.random.random_range(Duration::ZERO..LONGEST_LIFE);
        let end_of_life = tokio::time::sleep(life);
        let change = Change::ALL[round % Change::ALL.len()];
        self.set_fault(change.call())?;
        if self.random.random_bool(0.5) {
            self.set_fault(None)?;
        }
        self.change(change).await?;
        self.note_passwords().await?;
        end_of_life.await;
        operator.kill();
        self.tally.rounds += 1;
        Ok(())
    }

    fn set_fault(&mut self, call: Option<(&str, &str)>) -> anyhow::Result<()> {
        let fault = fault(&mut self.random, call);
        self.open += fault.count;
        self.tally.set += fault.count;
        self.tenant.platform().neon().emulator().set_fault(fault)
    }

    fn clear_faults(&mut self) {
        let emulator = self.tenant.platform().neon().emulator();
        let left: u32 = emulator.faults().iter().map(|fault| fault.count).sum();
        emulator.clear_faults();
        self.tally.met += self.open.saturating_sub(left);
        self.open = 0;
    }

    async fn change(&mut self, change: Change) -> anyhow::Result<()> {
        let name = self.somebody();
        match change {
            Change::Create => {
                self.previews += 1;
                let preview = Wanted::new("preview", Some("rehearsal"), 3);
                let name = format!("pr-{}", self.previews);
                self.wanted.insert(name.clone(), preview);
                return self.ask_for(&name).await;
            }
            Change::Delete => return self.delete().await,
            Change::Reset => return self.reset().await,
            Change::Settings => {
                self.retention_days += 1;
                return self.ask_for_settings().await;
            }
            Change::TakeSecretAway => {
                let (secrets, name) = (self.tenant.secrets(), format!("{name}-{}", ROLES[0].0));
                if secrets.get_opt(&name).await?.is_some() {
                    secrets.delete(&name, &DeleteParams::default()).await?;
                }
                return Ok(());
            }
            Change::Files => self.of(&name)?.files += 1,
            Change::Resize => self.of(&name)?.max_cu += 1.0,
            Change::Role => self.of(&name)?.roles = ROLES.len(),
            Change::Rotate => self.of(&name)?.rotation = Some(("3s", "1s")),
        }
        self.ask_for(&name).await
    }

    /// One of those that are asked for.
    fn somebody(&mut self) -> String {
        let index = self.random.random_range(0..self.wanted.len());
        self.wanted.keys().nth(index).cloned().unwrap_or_default()
    }

    fn of(&mut self, name: &str) -> anyhow::Result<&mut Wanted> {
        self.wanted.get_mut(name).context("nobody of this name")
    }

    async fn ask_for(&self, name: &str) -> anyhow::Result<()> {
        apply(self.tenant, &self.wanted[name].objects(name)).await
    }

    async fn ask_for_settings(&self) -> anyhow::Result<()> {
        let project = json!({
            "apiVersion": "sepulki.dev/v1alpha1",
            "kind": "NeonProject",
            "metadata": { "name": self.tenant.namespace() },
            "spec": {
                "projectId": self.tenant.project(),
                "apiKeySecretRef": { "namespace": self.tenant.namespace() },
                "settings": { "historyRetention": format!("{}d", self.retention_days) },
            },
        });
        let control_plane = self.tenant.platform().control_plane();
        control_plane.apply_yaml(&[&project.to_string()]).await
    }

    /// The youngest preview goes. Not one whose branch is not known yet: it may still come, and is waited for for minutes.
    async fn delete(&mut self) -> anyhow::Result<()> {
        let name = format!("pr-{}", self.previews);
        let Some(object) = self.tenant.database(&name).find().await? else {
            return Ok(());
        };
        if !object.branch_id().is_empty() && self.wanted.remove(&name).is_some() {
            self.tenant.migration(&name).delete().await?;
            self.tenant.database(&name).delete().await?;
            self.deleted.insert(name);
        }
        Ok(())
    }

    /// A preview goes back to what its parent has by now, if there is one by then.
    async fn reset(&self) -> anyhow::Result<()> {
        let preview = self.tenant.database("pr-0");
        let branch = preview.get().await?.branch_id().to_owned();
        if !branch.is_empty() {
            let asked = format!("{branch}@{}", SystemClock.now());
            let annotations = json!({ "sepulki.dev/reset": asked });
            preview
                .patch(json!({ "metadata": { "annotations": annotations } }))
                .await?;
        }
        Ok(())
    }

    /// What no log and no event may hold.
    async fn note_passwords(&mut self) -> anyhow::Result<()> {
        let secrets = self.tenant.secrets().list(&ListParams::default()).await?;
        for secret in secrets {
            let password = secret.data.unwrap_or_default().remove("PGPASSWORD");
            if let Some(password) = password {
                self.passwords.insert(String::from_utf8(password.0)?);
            }
        }
        Ok(())
    }

    /// Left in peace, everything becomes as if nobody had disturbed it.
    async fn settles(&mut self) -> anyhow::Result<()> {
        self.clear_faults();
        for one in self.wanted.values_mut() {
            // not due any more, and what was replaced goes soon
            one.rotation = one.rotation.map(|_| ("90d", "1s"));
        }
        for name in self.wanted.keys() {
            self.ask_for(name).await?;
        }
        let operator = start(self.tenant).await?;
        for name in self.wanted.keys() {
            self.tenant.migration(name).ready().await?;
            let no_login_before = |object: &testkit::operator::Object| {
                let secrets = object.at("/status/connectionSecrets").as_array();
                let mut secrets = secrets.into_iter().flatten();
                object.is_ready() && secrets.all(|secret| secret["previousLogin"].is_null())
            };
            self.tenant
                .database(name)
                .until("Ready with one login a role", no_login_before)
                .await?;
        }
        for name in &self.deleted {
            self.tenant.database(name).gone().await?;
        }
        self.has_its_settings().await?;
        as_if_undisturbed(self.tenant, &self.wanted).await?;
        self.note_passwords().await?;
        self.no_secret_in_any_text(&operator).await
    }

    async fn has_its_settings(&self) -> anyhow::Result<()> {
        let name = self.tenant.namespace();
        self.tenant.neon_project(name).ready().await?;
        let path = format!("/projects/{}", self.tenant.project());
        let project = self.tenant.platform().neon().get(&path).await?;
        let retention = &project["project"]["history_retention_seconds"];
        ensure!(
            *retention == self.retention_days * 24 * 60 * 60,
            "history is kept for {retention} s"
        );
        Ok(())
    }

    /// Log, events, and the objects themselves.
    async fn no_secret_in_any_text(&self, operator: &Operator) -> anyhow::Result<()> {
        let events =
            Api::<Event>::namespaced(self.tenant.client().clone(), self.tenant.namespace());
        let events = events.list(&ListParams::default()).await?;
        ensure!(!events.items.is_empty(), "no event was sent");
        let mut texts = vec![
            ("log".to_owned(), operator.log()?),
            ("events".to_owned(), serde_json::to_string(&events.items)?),
        ];
        for name in self.wanted.keys() {
            let database = self.tenant.database(name).get().await?;
            let migration = self.tenant.migration(name).get().await?;
            texts.push((
                name.clone(),
                format!("{}{}", database.at(""), migration.at("")),
            ));
        }
        let key = self.tenant.platform().neon().emulator().api_key();
        for (place, text) in texts {
            let found = self
                .passwords
                .iter()
                .any(|password| text.contains(password));
            ensure!(!found, "a password is in: {place}");
            ensure!(!text.contains(key), "the API key is in: {place}");
        }
        Ok(())
    }
}

async fn start(tenant: &Tenant<'_>) -> anyhow::Result<Operator> {
    tenant
        .operator(OPERATOR)
        .flag("--snapshot-interval=1s")
        // the lease of one that was killed would have to run out first
        .flag("--leader-election=false")
        .start()
        .await
}
