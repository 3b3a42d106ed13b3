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
    BranchLocks, Conditions, Memory, Pass, PassReport, Subject, Verdict, drive, notice,
};
use sepulki::runtime::dependents::{Change, Changes, What};
use sepulki::world::World;

use super::Sim;

/// Failures in a row that leave the status of a settled object alone, as in the runtime.
const HICCUPS: u32 = 3;

/// How soon a blocked object is looked at again, as in the runtime.
const BLOCKED: Duration = Duration::from_mins(1);

/// More passes than any of the small worlds needs.
const ENOUGH: usize = 2_000;

/// More passes than an object of the big ones needs.
const ENOUGH_FOR_ONE: usize = 100;

/// Which object, by uid.
type Uid = String;

/// What a process knows.
struct Process {
    world: World,
    projects: Projects,
    databases: Databases,
    migrations: Migrations,
    project_memory: Memory<NeonProject>,
    database_memory: Memory<NeonDatabase>,
    migration_memory: Memory<SepulkiMigration>,
    agenda: BTreeMap<Uid, Timestamp>,
    /// What the watch told of each object when it was last told.
    told: BTreeMap<Uid, String>,
    config_maps: BTreeMap<super::Key, BTreeMap<String, Vec<u8>>>,
    verdicts: BTreeMap<Uid, Verdict>,
}

impl Process {
    fn new(sim: &Arc<Sim>) -> Self {
        let world = sim.world();
        sim.lock().kubernetes.deliver();
        Self {
            projects: Projects::new(world.clone()),
            databases: Databases::new(world.clone()),
            migrations: Migrations::new(world.clone()),
            world,
            project_memory: Memory::default(),
            database_memory: Memory::default(),
            migration_memory: Memory::default(),
            agenda: BTreeMap::new(),
            told: BTreeMap::new(),
            config_maps: BTreeMap::new(),
            verdicts: BTreeMap::new(),
        }
    }
}

/// The operator in a world.
pub struct Operator {
    pub sim: Arc<Sim>,
    process: Process,
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

    /// The locks of the process that runs.
    pub fn locks(&self) -> &BranchLocks {
        &self.process.world.locks
    }

    /// Branches that the process has given up, as its metrics tell.
    pub fn left_behind(&self) -> u64 {
        let metrics = self.process.world.metrics.encode().unwrap();
        let line = metrics
            .lines()
            .find(|line| line.starts_with("sepulki_branches_left_behind_total "));
        line.and_then(|line| line.split(' ').next_back()?.parse().ok())
            .unwrap_or_default()
    }

    /// Runs passes until every object rests; answers how many there were.
    pub async fn settle(&mut self) -> usize {
        let before = self.passes.len();
        loop {
            let due = self.look_around();
            let enough = ENOUGH.max(self.process.told.len() * ENOUGH_FOR_ONE);
            if due.is_empty() {
                if self.rests() {
                    return self.passes.len() - before;
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
                let next = self.process.agenda.values().min().copied();
                let next = next.unwrap_or(end).min(end);
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
        let next = self.process.agenda.values().min();
        let next = *next.expect("something is on the agenda");
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

    /// The watches tell what has changed; answers who is due.
    fn look_around(&mut self) -> Vec<Uid> {
        let now = self.sim.now();
        let mut state = self.sim.lock();
        state.kubernetes.deliver();
        for (key, files) in &state.kubernetes.config_maps {
            let known = self.process.config_maps.insert(key.clone(), files.clone());
            if known.as_ref() != Some(files) {
                self.process.migrations.forget_config_map(&key.0, &key.1);
                for migration in &state.kubernetes.watched.migrations {
                    let uid = migration.metadata.uid.clone().unwrap_or_default();
                    self.process.agenda.insert(uid, now);
                }
            }
        }
        let watched = &state.kubernetes.watched;
        let metas = watched.databases.iter().map(|o| &o.metadata);
        let metas: Vec<&ObjectMeta> = metas
            .chain(watched.migrations.iter().map(|o| &o.metadata))
            .chain(watched.projects.iter().map(|o| &o.metadata))
            .collect();
        let alive = |uid: &Uid| metas.iter().any(|meta| meta.uid.as_ref() == Some(uid));
        self.process.agenda.retain(|uid, _| alive(uid));
        self.process.verdicts.retain(|uid, _| alive(uid));
        for meta in &metas {
            let uid = meta.uid.clone().unwrap_or_default();
            // status is not told
            let news = (&meta.generation, &meta.finalizers, &meta.annotations);
            let news = format!("{news:?}");
            if self.process.told.insert(uid.clone(), news.clone()) != Some(news) {
                self.process.agenda.insert(uid, now);
            }
        }
        let due = self.process.agenda.iter().filter(|(_, at)| **at <= now);
        due.map(|(uid, _)| uid.clone()).collect()
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
    fn over(&mut self, ended: Vec<(Uid, Option<Turn>)>) -> bool {
        let now = self.sim.now();
        for (uid, turn) in ended {
            self.process.agenda.remove(&uid);
            if let Some(turn) = turn {
                self.close(turn);
            } else {
                self.passes.push(format!("{uid}: did not end"));
                self.process.agenda.insert(uid, now);
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
        let (process, sim) = (&self.process, &self.sim);
        let watched = sim.lock().kubernetes.watched.clone();
        let is_it = |meta: &ObjectMeta| meta.uid.as_ref() == Some(&uid);
        let turn = if let Some(object) = watched.projects.iter().find(|o| is_it(&o.metadata)) {
            let started = Started::of(&process.project_memory, object.as_ref().clone());
            let ended = run(sim, &process.projects, &started).await;
            started.over(&process.project_memory, ended, sim)
        } else if let Some(object) = watched.databases.iter().find(|o| is_it(&o.metadata)) {
            let started = Started::of(&process.database_memory, object.as_ref().clone());
            let ended = run(sim, &process.databases, &started).await;
            started.over(&process.database_memory, ended, sim)
        } else if let Some(object) = watched.migrations.iter().find(|o| is_it(&o.metadata)) {
            let started = Started::of(&process.migration_memory, object.as_ref().clone());
            let ended = run(sim, &process.migrations, &started).await;
            started.over(&process.migration_memory, ended, sim)
        } else {
            None
        };
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
            let due = self.process.agenda.entry(turn.uid.clone()).or_insert(at);
            *due = (*due).min(at);
        }
        self.process.verdicts.insert(turn.uid, turn.verdict);
    }

    /// Who may have waited for a change of this object.
    fn wake(&mut self, change: &Change) {
        let now = self.sim.now();
        let watched = self.sim.lock().kubernetes.watched.clone();
        let databases = watched.databases.iter();
        let databases = databases.filter(|other| change.concerns_database(other));
        let migrations = watched.migrations.iter();
        let migrations = migrations.filter(|other| change.concerns_migration(other));
        let projects = watched.projects.iter();
        let projects = projects.filter(|other| change.concerns_project(other));
        let metas = databases.map(|other| &other.metadata);
        let metas = metas.chain(migrations.map(|other| &other.metadata));
        for meta in metas.chain(projects.map(|other| &other.metadata)) {
            let uid = meta.uid.clone().unwrap_or_default();
            self.process.agenda.insert(uid, now);
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
struct Turn {
    uid: Uid,
    change: Change,
    changed: bool,
    again: Option<Duration>,
    verdict: Verdict,
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
        let changed = after != self.before || gone;
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
