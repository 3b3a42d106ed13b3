//! An applied file that was edited, where the branch is made to be thrown away: back to the parent's state, and everything
//! applied anew. Pure.
//!
//! | what stands in the way of a plan, and where | answer |
//! |---|---|
//! | `onDivergence` is Fail; something else than edited files is in the way, too | none: it is told as ever |
//! | the branch was taken over, has no parent or another one than was asked for, is protected | Fail, with the reason |
//! | an edited file was applied to the parent, too: a reset would only bring it back | Fail |
//! | a reset was asked for with these very files, and has not helped | Fail |
//! | a reset was asked for a short while ago | Asked |
//! | else | Ask |
//!
//! The request stands in the status of the migration. Its NeonDatabase carries it out, as long as it is its present branch in
//! its present incarnation that is meant: a reset makes another incarnation, so that no request acts twice.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::desired::Desired;
use super::observe::{Ledger, Observed};
use super::place::{Database, Place};
use crate::api::{Environment, OnDivergence, RETRY, ResetRequest};
use crate::engine::{History, Plan, Problem, ProblemKind};

/// A request that still stands is dated anew after this long: one that is old is not believed.
const DATED_ANEW: SignedDuration = SignedDuration::from_mins(5);

/// What follows from edited files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing runs, and the branch is not reset, for this reason.
    Fail(String),
    /// The NeonDatabase has been asked.
    Asked,
    /// The NeonDatabase is to be asked to reset its branch because of these files.
    Ask(Vec<String>),
}

/// What the spec says that is to be done about edited files; none where it leaves that to the environment.
#[must_use]
pub fn asked(desired: &Desired) -> Option<OnDivergence> {
    desired.rest.as_ref().ok()?.on_divergence
}

/// What is to be done about edited files, as the spec or else the environment says.
#[must_use]
pub fn policy(desired: &Desired, environment: Environment) -> OnDivergence {
    asked(desired).unwrap_or(match environment {
        Environment::Production | Environment::Staging | Environment::Development => {
            OnDivergence::Fail
        }
        Environment::Preview => OnDivergence::ResetBranch,
    })
}

/// What follows for a ledger that was just read; nothing where edited files are to be told only, or are not all.
#[must_use]
pub fn answer(desired: &Desired, observed: &Observed, now: Timestamp) -> Option<Answer> {
    let Ledger::Read(state, plan) = &observed.ledger else {
        return None;
    };
    let database = observed.database.known()?;
    let edited = edited(plan)?;
    if policy(desired, database.environment) == OnDivergence::Fail {
        return None;
    }
    let (place, listing) = (observed.place(desired)?, observed.listing()?);
    let policies = desired.policies();
    let history = History::read(&policies, state);
    if let Some(why) = obstacle(database, &place, &history, &edited) {
        return Some(Answer::Fail(why));
    }
    let before = observed.reset_request.as_ref();
    let of_these = before.filter(|r| r.digest == listing.digest && r.branch_id == place.branch.id);
    Some(match of_these {
        Some(request) if request.incarnation != place.branch.incarnation => Answer::Fail(format!(
            "that was asked for at {} with these very files, and has not helped; a new value of the annotation {RETRY} asks \
             once more",
            request.time.0
        )),
        Some(request)
            if request.generation == desired.generation
                && now.duration_since(request.time.0) < DATED_ANEW =>
        {
            Answer::Asked
        }
        Some(_) | None => Answer::Ask(edited),
    })
}

/// The request to reset the branch because of these files.
#[must_use]
pub fn request(
    desired: &Desired,
    observed: &Observed,
    edited: &[String],
    now: Timestamp,
) -> Option<ResetRequest> {
    let (place, listing) = (observed.place(desired)?, observed.listing()?);
    Some(ResetRequest {
        branch_id: place.branch.id,
        incarnation: place.branch.incarnation,
        digest: listing.digest.clone(),
        generation: desired.generation,
        version: edited.first().cloned().unwrap_or_default(),
        time: Time(Timestamp::from_second(now.as_second()).unwrap_or(now)),
    })
}

/// Whether a request is to stay on record: it was made with these files, and not found to be needless since.
#[must_use]
pub fn stays(desired: &Desired, observed: &Observed, request: &ResetRequest) -> bool {
    let with_these = observed
        .listing()
        .is_none_or(|listing| listing.digest == request.digest);
    let Some(place) = observed.place(desired) else {
        return with_these;
    };
    let is_open =
        request.branch_id == place.branch.id && request.incarnation == place.branch.incarnation;
    let is_needless = match &observed.ledger {
        Ledger::Read(..) => !matches!(
            // however long ago it was made
            answer(desired, observed, request.time.0),
            Some(Answer::Asked | Answer::Ask(_))
        ),
        Ledger::Unread | Ledger::Foreign(_) => false,
    };
    with_these && !(is_open && is_needless)
}

/// The edited files, where nothing else is in the way.
fn edited(plan: &Plan) -> Option<Vec<String>> {
    let is_edited = |problem: &Problem| matches!(problem.kind, ProblemKind::Drifted { .. });
    let all = plan.blocking().all(is_edited);
    let edited: Vec<String> = plan
        .blocking()
        .map(|problem| problem.version.clone())
        .collect();
    (all && !edited.is_empty()).then_some(edited)
}

/// Why a reset is not possible, or of no use.
fn obstacle(
    database: &Database,
    place: &Place,
    history: &History<'_>,
    edited: &[String],
) -> Option<String> {
    if let Some(why) = database.not_resettable {
        return Some(why.to_owned());
    }
    let since = place.branch.incarnation.parse();
    let since = since.unwrap_or(place.branch.created);
    let inherited = edited.iter().find(|version| {
        let row = history.row(version);
        row.is_none_or(|row| row.applied_at.is_none_or(|applied| applied <= since))
    });
    inherited.map(|version| {
        format!(
            "{version} was applied before the branch was forked or reset, so that its parent would bring it back as it is"
        )
    })
}
