//! Facts about a migration's world: its files, its NeonDatabase, its rivals. Changes nothing, opens no session and wakes
//! nobody: reading the ledger is an action ([`super::action::Action::ReadLedger`]).

mod scratch;

use std::sync::Arc;

use jiff::Timestamp;

use super::cache::{Compiled, LedgerRead};
use super::desired::{Desired, Source};
use super::place::{self, Database, Place};
use super::required::{self, Unmet};
use super::scratch::Scratch;
use super::source::{Files, Listing, merge};
use super::{Migrations, adoption, plan};
use crate::api::{
    AdoptionStatus, AppliedStatus, AppliedTo, HeldStatus, LastError, Looks, ResetRequest,
};
use crate::engine::{self, Bundle, Diagnostics, LedgerState, Lint, Order, Plan, SourceFile};
use crate::reconcile::{Error, Fact, Pass, named};
use crate::world::{Failure, at_cluster};

/// What is known.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// An older object that writes the same ledger.
    pub rival: Option<String>,
    /// The NeonDatabase.
    pub database: Fact<Database>,
    /// The files, by name and digest.
    pub files: Files,
    /// The files, compiled, or what is wrong with the set; none where nothing had to be compiled.
    pub bundle: Option<Result<Arc<Bundle>, Diagnostics>>,
    /// What has to be waited for before these files are applied.
    pub unmet: Option<Unmet>,
    /// Whether only migrations are at work on the branch.
    pub branch_free: bool,
    /// The ledger.
    pub ledger: Ledger,
    /// What keeps pending files from being run, of what they may do to others.
    pub lints: Vec<Lint>,
    /// Which ledger the status speaks of, and what was found complete there.
    pub applied_to: Option<AppliedTo>,
    /// What the status says of that ledger.
    pub applied: Option<AppliedStatus>,
    /// What was found out about the history, and the record of the branch on which it is found out.
    pub adoption: Option<AdoptionStatus>,
    /// That branch; none where there cannot be one.
    pub scratch: Option<Scratch>,
    /// What Neon has begun a short while ago and not done.
    pub failures: Vec<Failure>,
    /// What was missing after a restore.
    pub held: Option<HeldStatus>,
    /// The reset that was last asked for.
    pub reset_request: Option<ResetRequest>,
    /// The failure that the status remembers.
    pub last_error: Option<LastError>,
    /// What was taken up of annotations.
    pub handled: Looks,
}

/// What is known of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ledger {
    /// Not read in this pass.
    #[default]
    Unread,
    /// The table of that name is something else, as the text says.
    Foreign(String),
    /// Its rows, and what they mean for the bundle.
    Read(LedgerState, Plan),
}

impl Observed {
    /// Where the ledger is, as far as it can be told.
    #[must_use]
    pub fn place(&self, desired: &Desired) -> Option<Place> {
        let recorded = self.applied_to.as_ref();
        self.database
            .known()?
            .place(desired.database.as_deref(), recorded)
    }

    /// The files, where they were found.
    #[must_use]
    pub fn listing(&self) -> Option<&Listing> {
        match &self.files {
            Files::Listed(listing) => Some(listing),
            Files::Unread | Files::Missing(_) | Files::Rejected(_) => None,
        }
    }

    /// Whether something is known that an earlier look did not know: other files, another place, a ledger.
    #[must_use]
    pub fn has_news(&self, desired: &Desired) -> bool {
        self.files != Files::Unread && !self.is_complete(desired)
    }

    /// The compiled files.
    #[must_use]
    pub fn compiled(&self) -> Option<&Arc<Bundle>> {
        self.bundle.as_ref()?.as_ref().ok()
    }

    /// What a run would try now; see [`place::attempt`].
    #[must_use]
    pub fn attempt(&self, desired: &Desired) -> Option<String> {
        let (database, listing) = (self.database.known()?, self.listing()?);
        let place = self.place(desired)?;
        Some(place::attempt(desired, database, &place, &listing.digest))
    }

    /// Whether the very same run has failed before.
    #[must_use]
    pub fn has_failed_for_good(&self, desired: &Desired) -> bool {
        let tried = self.last_error.as_ref().and_then(|f| f.attempt.as_ref());
        tried.is_some() && tried == self.attempt(desired).as_ref()
    }

    /// Whether the status says that these very files were found applied, up to this target, at this place, and the history
    /// there is believed.
    #[must_use]
    pub fn is_complete(&self, desired: &Desired) -> bool {
        let (Some(place), Some(listing)) = (self.place(desired), self.listing()) else {
            return false;
        };
        self.applied_to.as_ref().is_some_and(|to| {
            place.is(to)
                && to.digest.as_deref() == Some(listing.digest.as_str())
                && to.target == desired.target
                && adoption::is_believed(desired, self, &place)
        })
    }
}

/// Looks at everything that the next decision needs, and at no more.
pub(super) async fn observe(
    kind: &Migrations,
    pass: &Pass<Migrations>,
    desired: &Desired,
    now: Timestamp,
) -> Result<Observed, Error> {
    let mut observed = Observed {
        applied_to: pass.status.applied_to.clone(),
        applied: pass.status.applied.clone(),
        adoption: pass.status.adoption.clone(),
        held: pass.status.held_after_restore.clone(),
        reset_request: pass.status.reset_request.clone(),
        last_error: pass.status.last_error.clone(),
        handled: pass.status.handled.clone(),
        ..Observed::default()
    };
    if desired.has_finalizer || scratch::is_left(desired, &observed) {
        observed.database = database(kind, desired).into();
        observed.failures = kind.failures.of(&desired.uid, desired.generation, now);
        observed.scratch = Some(scratch::look(kind, desired, &observed, now).await?);
    }
    if plan::at_rest(desired, &observed, now).is_some() {
        return Ok(observed);
    }
    if !desired.has_finalizer {
        observed.database = database(kind, desired).into();
        if adoption::verifies(desired) {
            observed.scratch = scratch::stray(kind, desired, &observed, now).await;
        }
    }
    let others = kind.world.cluster.migrations();
    let rivals = others.iter().map(AsRef::as_ref);
    observed.rival = place::rival(&pass.object, rivals, observed.database.known());
    if observed.rival.is_some() {
        return Ok(observed);
    }
    let (files, content) = files(kind, desired, now).await?;
    observed.files = files;
    if plan::before_compiling(desired, &observed, now).is_none() {
        compile(kind, desired, &mut observed, content, now).await?;
    }
    if observed.is_complete(desired) {
        kind.cache.drop_bundle(&desired.uid);
        return Ok(observed);
    }
    let digest = observed.listing().map(|listing| listing.digest.as_str());
    observed.unmet = digest.and_then(|digest| required::unmet(&pass.object, &others, digest));
    if observed.compiled().is_none() {
        return Ok(observed);
    }
    let Some(place) = observed.place(desired) else {
        return Ok(observed);
    };
    observed.branch_free = kind.world.locks.shared(&place.branch.id).is_some();
    let (ledger, is_fresh) = ledger(kind, desired, &observed, &place, now);
    observed.ledger = ledger;
    observed.lints = lints(desired, &observed).await?;
    if is_fresh {
        remember_obstacle(kind, desired, &observed, now);
    }
    Ok(observed)
}

/// What speaks against running what is pending.
async fn lints(desired: &Desired, observed: &Observed) -> Result<Vec<Lint>, Error> {
    let (Ledger::Read(_, plan), Some(bundle), Ok(rest)) =
        (&observed.ledger, observed.compiled(), &desired.rest)
    else {
        return Ok(Vec::new());
    };
    if plan.pending.is_empty() || rest.lint.fail_on.is_none() {
        return Ok(Vec::new());
    }
    let bundle = Arc::clone(bundle);
    let to_run = plan.pending.iter().filter(|file| !file.is_baseline);
    let to_run: Vec<String> = to_run.map(|file| file.version.clone()).collect();
    let work = tokio::task::spawn_blocking(move || engine::lint(&bundle, Some(&to_run)));
    let found = work.await.map_err(|error| error.to_string());
    let found = found.and_then(|found| found.map_err(|error| error.to_string()));
    let mut lints =
        found.map_err(|error| Error::bug(format!("looking through the files failed: {error}")))?;
    lints.retain(|lint| rest.lint.stops(lint));
    Ok(lints)
}

/// The ledger that was just read, or one that stood in the way when it was read; and whether it was read just now.
fn ledger(
    kind: &Migrations,
    desired: &Desired,
    observed: &Observed,
    place: &Place,
    now: Timestamp,
) -> (Ledger, bool) {
    let uid = &desired.uid;
    let read = kind.cache.take_ledger(uid, place, now);
    let is_fresh = read.is_some();
    let read = read.or_else(|| kind.cache.blocked(uid, &observed.attempt(desired)?, now));
    let judged = read.map_or(Ledger::Unread, |read| {
        judge(desired, read, observed.compiled())
    });
    (judged, is_fresh)
}

/// Remembers a ledger that stands in the way. It is not read again before something changes or an annotation asks for it:
/// each look would wake a compute that is asleep.
fn remember_obstacle(kind: &Migrations, desired: &Desired, observed: &Observed, now: Timestamp) {
    let read = match &observed.ledger {
        Ledger::Foreign(why) => Err(why.clone()),
        Ledger::Read(state, plan)
            if !plan.is_runnable() || !observed.lints.is_empty() || is_wrong(desired, observed) =>
        {
            Ok(state.clone())
        }
        Ledger::Read(..) | Ledger::Unread => return,
    };
    if let Some(attempt) = observed.attempt(desired) {
        kind.cache.keep_blocked(&desired.uid, attempt, read, now);
    }
}

/// Whether the history was found wrong.
fn is_wrong(desired: &Desired, observed: &Observed) -> bool {
    let place = observed.place(desired);
    place.is_some_and(|place| {
        adoption::verdict(observed, &place).is_some()
            && !adoption::is_believed(desired, observed, &place)
    })
}

/// The NeonDatabase that is to be migrated, as its watch knows it.
pub(super) fn database(kind: &Migrations, desired: &Desired) -> Option<Database> {
    let all = kind.world.cluster.databases();
    let found = named(&all, Some(&desired.namespace), &desired.database_ref)?;
    Some(Database::of(found, &kind.world.cluster.projects()))
}

/// The files as they were last read, with their content where that was just now.
async fn files(
    kind: &Migrations,
    desired: &Desired,
    now: Timestamp,
) -> Result<(Files, Option<Vec<SourceFile>>), Error> {
    if let Ok(rest) = &desired.rest
        && let Source::ConfigMaps { names, .. } = &rest.source
        && let Some(listing) = kind.cache.listing(&desired.uid, names, now)
        // where other files are asked for, the watch may only not have told of them yet
        && rest.source.digest().is_none_or(|asked| asked == listing.digest)
    {
        return Ok((Files::Listed(listing), None));
    }
    read(kind, desired, now).await
}

/// Reads the files themselves.
async fn read(
    kind: &Migrations,
    desired: &Desired,
    now: Timestamp,
) -> Result<(Files, Option<Vec<SourceFile>>), Error> {
    let names = match desired.rest.as_ref().map(|rest| &rest.source) {
        Ok(Source::ConfigMaps { names, .. }) => names,
        Ok(Source::Inline(files)) => {
            return Ok((Files::Listed(Listing::of(files)), Some(files.clone())));
        }
        Err(_) => return Ok((Files::Unread, None)),
    };
    let began = kind.cache.begin();
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for name in names {
        let map = kind.world.cluster.config_map(&desired.namespace, name);
        match map.await.map_err(at_cluster)? {
            Some(keys) => found.push((name.clone(), keys)),
            None => missing.push(name.clone()),
        }
    }
    if !missing.is_empty() {
        return Ok((Files::Missing(missing), None));
    }
    let files = match merge(found) {
        Ok(files) => files,
        Err(why) => return Ok((Files::Rejected(why), None)),
    };
    let listing = Listing::of(&files);
    let from = (desired.namespace.as_str(), names.as_slice());
    kind.cache
        .keep_listing(began, &desired.uid, from, &listing, now);
    Ok((Files::Listed(listing), Some(files)))
}

/// Compiles the files, unless that was done before.
async fn compile(
    kind: &Migrations,
    desired: &Desired,
    observed: &mut Observed,
    content: Option<Vec<SourceFile>>,
    now: Timestamp,
) -> Result<(), Error> {
    let known = observed.listing().and_then(|listing| {
        kind.cache
            .bundle(&desired.uid, &key(desired, &listing.digest))
    });
    if known.is_some() {
        observed.bundle = known;
        return Ok(());
    }
    let content = match content {
        Some(content) => content,
        None => match read(kind, desired, now).await? {
            (files, Some(content)) => {
                observed.files = files;
                content
            }
            (files, None) => {
                observed.files = files;
                return Ok(());
            }
        },
    };
    // what was read again may have changed, and may be wrong in a way that is told before the files are compiled
    let digest = match observed.listing() {
        Some(listing) if plan::before_compiling(desired, observed, now).is_none() => {
            key(desired, &listing.digest)
        }
        Some(_) | None => return Ok(()),
    };
    let order = order(desired);
    let compile = move || Bundle::in_order(content, &order).map(Arc::new);
    let work = tokio::task::spawn_blocking(compile);
    let bundle: Compiled = work
        .await
        .map_err(|error| Error::bug(format!("compiling the files failed: {error}")))?;
    kind.cache.keep_bundle(&desired.uid, &digest, &bundle);
    observed.bundle = Some(bundle);
    Ok(())
}

fn order(desired: &Desired) -> Order {
    let rest = desired.rest.as_ref();
    rest.map(|rest| rest.order.clone()).unwrap_or_default()
}

/// What a bundle depends on: the files and their order.
fn key(desired: &Desired, digest: &str) -> String {
    format!("{digest} {:?}", order(desired))
}

/// What a ledger that was read means for the bundle; nothing without one.
pub(super) fn judge(desired: &Desired, read: LedgerRead, bundle: Option<&Arc<Bundle>>) -> Ledger {
    let policies = desired.policies();
    match (read, bundle) {
        (Err(foreign), _) => Ledger::Foreign(foreign),
        (Ok(state), Some(bundle)) => {
            let target = desired.target.as_deref();
            let plan = engine::plan_by(&policies, bundle, &state, target);
            Ledger::Read(state, plan)
        }
        (Ok(_), None) => Ledger::Unread,
    }
}
