//! One process of the operator after another: passes over all objects, as the runtime runs them.
//!
//! Who is looked at again, and when, follows the same rules as the runtime's controllers: changes that the watch tells,
//! dependents of an object whose conditions changed, and what the end of a pass asks for. Watches lag by a round.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::Resource;
use sepulki::api::{NeonDatabase, NeonProject, SepulkiMigration};
use sepulki::database::Databases;
use sepulki::migration::Migrations;
use sepulki::project::Projects;
use sepulki::reconcile::{
    BranchLocks, Conditions, Memory, Pass, PassReport, Subject, Verdict, concerns_others, drive,
    notice,
};
use sepulki::runtime::dependents::{Change, Changes, What};
use sepulki::world::World;

use super::Sim;
use super::agenda::{Agenda, Uid};
use super::kubernetes::{Kind, Kubernetes};

/// Failures in a row that leave the status of a settled object alone, as in the runtime.
const HICCUPS: u32 = 3;

/// How soon a blocked object is looked at again, as in the runtime.
const BLOCKED: Duration = Duration::from_mins(1);

/// What rests is watched for this long where something is about to be looked at.
const A_MOMENT: SignedDuration = SignedDuration::from_secs(10);

/// More passes than any of the small worlds needs.
const ENOUGH: usize = 2_000;

/// More passes than an object of the big ones needs.
const ENOUGH_FOR_ONE: usize = 100;

/// The kinds of a process, with what it remembers of their objects.
pub(super) struct Kinds {
    world: World,
    projects: Projects,
    databases: Databases,
    migrations: Migrations,
    project_memory: Memory<NeonProject>,
    database_memory: Memory<NeonDatabase>,
    migration_memory: Memory<SepulkiMigration>,
}

impl Kinds {
    fn new(world: World) -> Self {
        Self {
            projects: Projects::new(world.clone()),
            databases: Databases::new(world.clone()),
            migrations: Migrations::new(world.clone()),
            world,
            project_memory: Memory::default(),
            database_memory: Memory::default(),
            migration_memory: Memory::default(),
        }
    }

    /// One pass over the object that is here; nothing where it did not come to its end.
    pub(super) async fn pass(&self, sim: &Arc<Sim>, place: &(Kind, super::Key)) -> Option<Turn> {
        let (kind, key) = place;
        match kind {
            Kind::Project => {
                let seen = sim.lock().kubernetes.projects.watched().get(key).cloned();
                pass(sim, &self.projects, &self.project_memory, seen).await
            }
            Kind::Database => {
                let seen = sim.lock().kubernetes.databases.watched().get(key).cloned();
                pass(sim, &self.databases, &self.database_memory, seen).await
            }
            Kind::Migration => {
                let seen = sim.lock().kubernetes.migrations.watched().get(key).cloned();
                pass(sim, &self.migrations, &self.migration_memory, seen).await
            }
        }
    }
}

/// What a process knows.
pub(super) struct Process {
    pub(super) kinds: Arc<Kinds>,
    pub(super) agenda: Agenda,
    /// How much of what the watches have told this process has taken note of.
    heard: usize,
    /// What the watch told of each object when it was last told.
    told: BTreeMap<(Kind, super::Key), Told>,
    /// Where each object is.
    pub(super) places: BTreeMap<Uid, (Kind, super::Key)>,
    config_maps: BTreeMap<super::Key, BTreeMap<String, Vec<u8>>>,
    verdicts: BTreeMap<Uid, Verdict>,
}

/// What makes an object due. Status is not in it.
#[derive(PartialEq)]
struct Told {
    uid: Uid,
    generation: Option<i64>,
    finalizers: Option<Vec<String>>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Told {
    fn of(meta: &ObjectMeta) -> Self {
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            generation: meta.generation,
            finalizers: meta.finalizers.clone(),
            annotations: meta.annotations.clone(),
        }
    }
}

impl Process {
    fn new(sim: &Arc<Sim>) -> Self {
        let world = sim.world();
        let mut process = Self::of(world);
        {
            let mut state = sim.lock();
            let kubernetes = &mut state.kubernetes;
            kubernetes.deliver();
            process.heard = kubernetes.told.len();
        }
        let now = sim.now();
        process.take_note_of_all(&sim.lock().kubernetes, now);
        process
    }

    fn of(world: World) -> Self {
        Self {
            kinds: Arc::new(Kinds::new(world)),
            agenda: Agenda::default(),
            heard: 0,
            told: BTreeMap::new(),
            places: BTreeMap::new(),
            config_maps: BTreeMap::new(),
            verdicts: BTreeMap::new(),
        }
    }

    /// The first thing that a watch tells: everything.
    fn take_note_of_all(&mut self, kubernetes: &Kubernetes, now: Timestamp) {
        let projects = kubernetes.projects.watched().keys();
        let databases = kubernetes.databases.watched().keys();
        let migrations = kubernetes.migrations.watched().keys();
        let all = projects.map(|key| (Kind::Project, key));
        let all = all.chain(databases.map(|key| (Kind::Database, key)));
        for (kind, key) in all.chain(migrations.map(|key| (Kind::Migration, key))) {
            self.take_note(kubernetes, (kind, key.clone()), now);
        }
    }

    /// What the watches have told since.
    fn catch_up(&mut self, kubernetes: &Kubernetes, now: Timestamp) {
        for place in kubernetes.told.iter().skip(self.heard) {
            self.take_note(kubernetes, place.clone(), now);
        }
        self.heard = kubernetes.told.len();
    }

    fn take_note(&mut self, kubernetes: &Kubernetes, place: (Kind, super::Key), now: Timestamp) {
        let (kind, key) = &place;
        let meta = match kind {
            Kind::Project => kubernetes.projects.watched().get(key).map(|o| &o.metadata),
            Kind::Database => kubernetes.databases.watched().get(key).map(|o| &o.metadata),
            Kind::Migration => kubernetes
                .migrations
                .watched()
                .get(key)
                .map(|o| &o.metadata),
        };
        let told = meta.map(Told::of);
        let before = self.told.remove(&place);
        if before == told {
            self.told.extend(told.map(|told| (place, told)));
            return;
        }
        let uid = |told: &Option<Told>| told.as_ref().map(|told| told.uid.clone());
        if let Some(gone) = uid(&before).filter(|gone| uid(&told).as_ref() != Some(gone)) {
            self.agenda.remove(&gone);
            self.verdicts.remove(&gone);
            self.places.remove(&gone);
        }
        if let Some(told) = told {
            self.agenda.put(&told.uid, now);
            self.places.insert(told.uid.clone(), place.clone());
            self.told.insert(place, told);
        }
    }
}

/// The operator in a world.
pub struct Operator {
    pub sim: Arc<Sim>,
    pub(super) process: Process,
    /// Passes so far, in words.
    pub passes: Vec<String>,
    /// How often the process died.
    pub crashes: usize,
    /// Whether the passes of a round run at the same time instead of one after the other.
    pub side_by_side: bool,
}

/// How one pass ended.
enum Ended<S: Subject> {
    Done(Box<(Pass<S>, PassReport)>),
    /// The pass was dropped; the process lives.
    Dropped,
    /// The process died.
    Crashed,
}

impl Operator {
    pub fn new(sim: &Arc<Sim>) -> Self {
        Self {
            process: Process::new(sim),
            sim: Arc::clone(sim),
            passes: Vec::new(),
            crashes: 0,
            side_by_side: false,
        }
    }

    /// Ends the process and starts another one, which knows nothing.
    pub fn restart(&mut self) {
        self.process = Process::new(&self.sim);
        self.crashes += 1;
    }

    /// Ends the process, and what was told of its passes: nothing of it is left but what it did.
    pub fn end(&mut self) {
        self.process = Process::of(self.sim.world());
        self.forget_story();
    }

    /// Forgets what was told of passes so far.
    pub fn forget_story(&mut self) {
        self.passes = Vec::new();
        self.sim.lock().said = String::new();
    }

    /// The locks of the process that runs.
    pub fn locks(&self) -> &BranchLocks {
        &self.process.kinds.world.locks
    }

    /// Branches that the process has given up, as its metrics tell.
    pub fn left_behind(&self) -> u64 {
        let metrics = self.process.kinds.world.metrics.encode().unwrap();
        let line = metrics
            .lines()
            .find(|line| line.starts_with("sepulki_branches_left_behind_total "));
        line.and_then(|line| line.split(' ').next_back()?.parse().ok())
            .unwrap_or_default()
    }

    /// Runs passes until every object rests; answers how many there were.
    pub async fn settle(&mut self) -> usize {
        let before = self.passes.len();
        let mut rests_since = None;
        loop {
            let due = self.look_around();
            let enough = ENOUGH.max(self.process.told.len() * ENOUGH_FOR_ONE);
            if due.is_empty() {
                if self.rests() {
                    let now = self.sim.now();
                    let since = *rests_since.get_or_insert(now);
                    if !self.looks_soon() || now.duration_since(since) >= A_MOMENT {
                        return self.passes.len() - before;
                    }
                }
                self.wait().await;
            }
            self.round(due).await;
            let passes = self.passes.len() - before;
            assert!(
                passes < enough,
                "no rest after {passes} passes:\n{}",
                self.story(40)
            );
        }
    }

    /// Runs passes for so long.
    pub async fn run_for(&mut self, time: SignedDuration) {
        let end = self.sim.now() + time;
        loop {
            let due = self.look_around();
            if due.is_empty() {
                let next = self.process.agenda.next().unwrap_or(end).min(end);
                self.sim.advance(next.duration_since(self.sim.now())).await;
                if next == end {
                    return;
                }
            }
            self.round(due).await;
        }
    }

    /// The last passes, for people.
    pub fn story(&self, last: usize) -> String {
        let skip = self.passes.len().saturating_sub(last);
        let mut text = self.passes[skip..].join("\n");
        for (uid, verdict) in &self.process.verdicts {
            write!(text, "\n{uid}: {verdict:?}").unwrap();
        }
        text
    }

    async fn wait(&self) {
        let next = self.process.agenda.next();
        let next = next.expect("something is on the agenda");
        self.sim.advance(next.duration_since(self.sim.now())).await;
    }

    fn rests(&self) -> bool {
        self.process.verdicts.values().all(|verdict| match verdict {
            Verdict::Settled(_) | Verdict::Suspended(_) | Verdict::Blocked(_) | Verdict::Gone => {
                true
            }
            Verdict::Acting(_) | Verdict::Waiting(_) | Verdict::Failed(_) => false,
        })
    }

    /// Whether something that is as asked is looked at again in a moment: a Secret whose turn that is.
    fn looks_soon(&self) -> bool {
        let soon = A_MOMENT.unsigned_abs();
        let mut verdicts = self.process.verdicts.values();
        verdicts.any(|verdict| matches!(verdict, Verdict::Settled(after) if *after <= soon))
    }

    /// The watches tell what has changed; answers who is due.
    pub(super) fn look_around(&mut self) -> Vec<Uid> {
        let now = self.sim.now();
        let mut state = self.sim.lock();
        state.kubernetes.deliver();
        for (key, files) in &state.kubernetes.config_maps {
            let known = self.process.config_maps.insert(key.clone(), files.clone());
            if known.as_ref() != Some(files) {
                self.process
                    .kinds
                    .migrations
                    .forget_config_map(&key.0, &key.1);
                for migration in state.kubernetes.migrations.watched().values() {
                    let uid = migration.metadata.uid.as_deref().unwrap_or_default();
                    self.process.agenda.put(uid, now);
                }
            }
        }
        self.process.catch_up(&state.kubernetes, now);
        self.process.agenda.due(now)
    }

    /// One pass over each of these. What they see of each other is what the watches told before.
    async fn round(&mut self, due: Vec<Uid>) {
        if self.side_by_side {
            let passes = due.into_iter().map(|uid| self.pass(uid));
            let ended = join_all(passes).await;
            self.over(ended);
        } else {
            for uid in due {
                let ended = vec![self.pass(uid).await];
                if self.over(ended) {
                    return;
                }
            }
        }
    }

    /// Notes what became of passes; true where the process died of one.
    pub(super) fn over(&mut self, ended: Vec<(Uid, Option<Turn>)>) -> bool {
        let now = self.sim.now();
        for (uid, turn) in ended {
            self.process.agenda.remove(&uid);
            if let Some(turn) = turn {
                self.close(turn);
            } else {
                self.passes.push(format!("{uid}: did not end"));
                self.process.agenda.put(&uid, now);
            }
        }
        let crashed = self.sim.faults.take_crash();
        if crashed {
            self.restart();
        }
        crashed
    }

    /// One pass over one object; nothing where it did not come to its end.
    async fn pass(&self, uid: Uid) -> (Uid, Option<Turn>) {
        let Some(place) = self.process.places.get(&uid) else {
            return (uid, None);
        };
        let turn = self.process.kinds.pass(&self.sim, place).await;
        (uid, turn)
    }

    /// Notes how a pass ended, and who has to look again because of it.
    fn close(&mut self, turn: Turn) {
        let now = self.sim.now();
        self.passes.push(turn.line);
        if turn.changed {
            self.wake(&turn.change);
        }
        if let Some(after) = turn.again {
            let at = now + SignedDuration::try_from(after).unwrap();
            self.process.agenda.put_by(&turn.uid, at);
        }
        self.process.verdicts.insert(turn.uid, turn.verdict);
    }

    /// Who may have waited for a change of this object.
    fn wake(&mut self, change: &Change) {
        let now = self.sim.now();
        let state = self.sim.lock();
        let kubernetes = &state.kubernetes;
        let databases = kubernetes.databases.watched().values();
        let databases = databases.filter(|other| change.concerns_database(other));
        let migrations = kubernetes.migrations.watched().values();
        let migrations = migrations.filter(|other| change.concerns_migration(other));
        let projects = kubernetes.projects.watched().values();
        let projects = projects.filter(|other| change.concerns_project(other));
        let metas = databases.map(|other| &other.metadata);
        let metas = metas.chain(migrations.map(|other| &other.metadata));
        for meta in metas.chain(projects.map(|other| &other.metadata)) {
            let uid = meta.uid.as_deref().unwrap_or_default();
            self.process.agenda.put(uid, now);
        }
    }
}

/// A pass that is about to run.
struct Started<O> {
    object: O,
    uid: Uid,
    generation: i64,
    before: Vec<Condition>,
    tolerate: bool,
}

/// A pass that has ended, without its types.
pub(super) struct Turn {
    pub(super) uid: Uid,
    change: Change,
    changed: bool,
    again: Option<Duration>,
    pub(super) verdict: Verdict,
    line: String,
}

fn version(meta: &ObjectMeta) -> u64 {
    let version = meta.resource_version.as_deref();
    version.and_then(|v| v.parse().ok()).unwrap_or_default()
}

impl<O: Conditions + Changes + Resource<DynamicType = ()> + Clone> Started<O> {
    fn of(memory: &Memory<O>, seen: O) -> Self {
        let uid = seen.meta().uid.clone().unwrap_or_default();
        let object = memory.freshest(&uid, version(seen.meta()), seen);
        let generation = object.meta().generation.unwrap_or_default();
        let tolerate = object.is_settled() && memory.failures(&uid, generation) < HICCUPS;
        Self {
            before: object.conditions().to_vec(),
            tolerate,
            object,
            uid,
            generation,
        }
    }

    fn over<S: Subject<Object = O>>(
        &self,
        memory: &Memory<O>,
        ended: Ended<S>,
        sim: &Sim,
    ) -> Option<Turn> {
        let (pass, report) = match ended {
            Ended::Done(done) => *done,
            Ended::Dropped | Ended::Crashed => return None,
        };
        let meta = pass.object.meta().clone();
        let failed = matches!(report.verdict, Verdict::Failed(_));
        let written = version(&meta);
        let begun = version(self.object.meta());
        let latest = (written > begun).then(|| (written, pass.object.clone()));
        let attempts = memory.ended(&self.uid, self.generation, failed, latest);
        let after = pass.object.conditions();
        let gone = report.verdict == Verdict::Gone;
        let changed = concerns_others(&self.before, after, &report);
        let event = notice(&self.before, after, &report.verdict);
        let events: Vec<_> = pass.notices.iter().chain(&event).collect();
        let kind = O::kind(&());
        let name = meta.name.clone().unwrap_or_default();
        let line = format!(
            "{kind} {name}: {:?} then {:?}",
            report.actions, report.verdict
        );
        sim.lock().say(&format!("{line} {events:?}"));
        if gone {
            memory.forget(&self.uid);
        }
        Some(Turn {
            uid: self.uid.clone(),
            change: Change {
                namespace: meta.namespace,
                uid: self.uid.clone(),
                what: if gone {
                    What::Gone(name)
                } else {
                    pass.object.what()
                },
            },
            changed,
            again: again(&report.verdict, attempts, &self.uid),
            verdict: report.verdict,
            line,
        })
    }
}

/// When to look again, if nothing is heard before; as in the runtime.
fn again(verdict: &Verdict, attempts: u32, uid: &str) -> Option<Duration> {
    match verdict {
        Verdict::Settled(after) | Verdict::Suspended(after) => Some(*after),
        Verdict::Waiting(wait) => Some(wait.after),
        Verdict::Acting(_) => Some(Duration::ZERO),
        Verdict::Blocked(_) => Some(BLOCKED),
        Verdict::Failed(error) => Some(error.backoff(attempts, uid)),
        Verdict::Gone => None,
    }
}

/// One pass over an object as the watch has told of it, if it has.
async fn pass<S>(
    sim: &Arc<Sim>,
    subject: &S,
    memory: &Memory<S::Object>,
    seen: Option<Arc<S::Object>>,
) -> Option<Turn>
where
    S: Subject,
    S::Object: Conditions + Changes + Resource<DynamicType = ()>,
{
    let started = Started::of(memory, seen?.as_ref().clone());
    let ended = run(sim, subject, &started).await;
    started.over(memory, ended, sim)
}

/// Runs one pass, unless it is dropped or the process dies on the way.
async fn run<S: Subject>(sim: &Arc<Sim>, subject: &S, started: &Started<S::Object>) -> Ended<S> {
    let time = Arc::clone(sim);
    let object = started.object.clone();
    let pass = drive(subject, object, move || time.now(), started.tolerate);
    let mut pass = Box::pin(pass);
    poll_fn(|context| {
        if sim.faults.has_crashed() {
            return Poll::Ready(Ended::Crashed);
        }
        if sim.faults.poll() {
            return Poll::Ready(Ended::Dropped);
        }
        let polled = pass.as_mut().poll(context);
        if sim.faults.has_crashed() {
            return Poll::Ready(Ended::Crashed);
        }
        polled.map(|done| Ended::Done(Box::new(done)))
    })
    .await
}
