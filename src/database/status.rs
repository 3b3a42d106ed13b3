//! How a NeonDatabase stands. Pure: the record of earlier actions, brought up to date with what was observed, and the
//! conditions that follow from both.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::again::leaves_it_ready;
use super::compute;
use super::desired::{Database, Desired, Rest};
use super::inherit::Heritage;
use super::observe::{Observed, incarnation};
use super::{deletion, max_age, plan, replicas, start};
use crate::api::{
    ConditionType, DeletionPolicy, EXTEND, NeonDatabaseStatus, Reason, condition, find_condition,
    holds, set_condition,
};
use crate::neon::Endpoint;
use crate::postgres::extensions;
use crate::reconcile::{Fact, Verdict, summarize};

/// The status as it should stand.
#[must_use]
pub fn project(
    recorded: &NeonDatabaseStatus,
    desired: &Desired,
    observed: Option<&Observed>,
    verdict: &Verdict,
    now: Timestamp,
) -> NeonDatabaseStatus {
    let mut status = recorded.clone();
    status.observed_generation = desired.generation;
    if let Some(observed) = observed {
        bring_up_to_date(&mut status, desired, observed, now);
    }
    status.conditions = conditions(recorded, &status, desired, observed, verdict, now);
    status
}

/// A moment as the API server keeps it: a part of a second would look like a change at every look.
fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

/// What Neon says of the branch and endpoint that are recorded.
fn bring_up_to_date(
    status: &mut NeonDatabaseStatus,
    desired: &Desired,
    observed: &Observed,
    now: Timestamp,
) {
    if let (Some(recorded), Fact::Known(branch)) = (&mut status.branch, &observed.branch)
        && recorded.id == branch.id.as_str()
    {
        recorded.name.clone_from(&branch.name);
        if recorded.incarnation == incarnation(branch) {
            // of another incarnation, it tells how that came about, which is recorded together with it
            recorded.parent_id = branch.parent_id.as_ref().map(ToString::to_string);
        }
        recorded.is_default = branch.default;
        recorded.protected = branch.protected;
        recorded.expiry_time = branch.expires_at.map(whole_seconds);
        if !branch.is_unusable() {
            recorded.ready_time.get_or_insert(whole_seconds(now));
        }
    }
    if let Ok(rest) = &desired.rest {
        status.plan_limit = rest.compute.still_limited(status.plan_limit.as_ref());
    }
    if status.branch.is_none() {
        status.endpoint = None;
        status.read_replicas.clear();
    } else if let Fact::Known(endpoint) = &observed.endpoint {
        let recorded = status.endpoint.take();
        let recorded = recorded.filter(|recorded| recorded.id == endpoint.id.as_str());
        let rest = desired.rest.as_ref().ok();
        let asked = rest.map(|rest| rest.compute.asked(status.plan_limit.as_ref()));
        status.endpoint = Some(compute::looked_at(endpoint, recorded, asked));
    }
    if let (Fact::Known(_) | Fact::Absent, Ok(rest)) = (&observed.endpoint, &desired.rest) {
        let record = &mut status.read_replicas;
        replicas::look_at(record, &rest.replicas, &observed.replicas);
    }
}

fn conditions(
    recorded: &NeonDatabaseStatus,
    status: &NeonDatabaseStatus,
    desired: &Desired,
    observed: Option<&Observed>,
    verdict: &Verdict,
    now: Timestamp,
) -> Vec<Condition> {
    let previous = &recorded.conditions;
    let stays = || is_stalled(recorded, desired) || leaves_it_ready(status, desired, observed);
    if matches!(verdict, Verdict::Acting(_)) && stays() {
        // it is being tried again: what came of it is told at the end, and nobody sees it come and go
        return previous.clone();
    }
    let mut list = Vec::new();
    summarize(
        &mut list,
        previous,
        verdict,
        (Reason::Succeeded, summary(status, desired)),
        desired.generation,
        now,
    );
    let parts = observed.map(|observed| parts(status, desired, observed, verdict, now));
    for type_ in PARTS {
        let ((is, reason, message), generation) = match &parts {
            Some(parts) => (part(parts, type_), desired.generation),
            // nothing could be looked at: what was true stays, what was never looked at is not true
            None => unchanged(previous, type_, verdict, desired.generation),
        };
        set_condition(
            &mut list,
            previous,
            condition(type_, is, reason, message, generation, now),
        );
    }
    list
}

fn is_stalled(recorded: &NeonDatabaseStatus, desired: &Desired) -> bool {
    holds(
        &recorded.conditions,
        ConditionType::Stalled,
        desired.generation,
    )
}

const PARTS: [ConditionType; 4] = [
    ConditionType::BranchReady,
    ConditionType::ComputeReady,
    ConditionType::DatabasesReady,
    ConditionType::CredentialsPublished,
];

type Part = (bool, Reason, String);

/// What the parts of the object say, in the order of [`PARTS`].
struct Parts {
    branch: Part,
    compute: Part,
    databases: Part,
    credentials: Part,
}

fn part(parts: &Parts, type_: ConditionType) -> Part {
    match type_ {
        ConditionType::BranchReady => parts.branch.clone(),
        ConditionType::ComputeReady => parts.compute.clone(),
        ConditionType::DatabasesReady => parts.databases.clone(),
        ConditionType::CredentialsPublished => parts.credentials.clone(),
        ConditionType::Ready
        | ConditionType::Reconciling
        | ConditionType::Stalled
        | ConditionType::SourceReady
        | ConditionType::Planned
        | ConditionType::Applied => (false, Reason::Bug, String::new()),
    }
}

/// What stays true does so of the version of the spec that it was found true of: nobody knows yet whether it is of a later one.
fn unchanged(
    previous: &[Condition],
    type_: ConditionType,
    verdict: &Verdict,
    generation: i64,
) -> (Part, i64) {
    match find_condition(previous, type_) {
        Some(old) if old.status == "True" && blamed(verdict) != Some(type_) => {
            let reason = Reason::of_word(&old.reason).unwrap_or(Reason::Succeeded);
            let part = (true, reason, old.message.clone());
            (part, old.observed_generation.unwrap_or(generation))
        }
        Some(_) | None => (why_not(verdict), generation),
    }
}

/// The part of the object that an error is about.
fn blamed(verdict: &Verdict) -> Option<ConditionType> {
    match verdict {
        Verdict::Failed(error) => error.part,
        Verdict::Acting(_)
        | Verdict::Settled(_)
        | Verdict::Suspended(_)
        | Verdict::Waiting(_)
        | Verdict::Blocked(_)
        | Verdict::Gone => None,
    }
}

/// A part that is not as asked shares the story of the whole.
fn why_not(verdict: &Verdict) -> Part {
    match verdict {
        Verdict::Waiting(wait) => (false, wait.reason, wait.message.clone()),
        Verdict::Blocked(block) => (false, block.reason, block.message.clone()),
        Verdict::Failed(error) => (false, error.reason, error.message.clone()),
        Verdict::Acting(what) => (false, Reason::Progressing, what.clone()),
        Verdict::Suspended(_) => (
            false,
            Reason::Suspended,
            "nothing is changed while suspend is set".to_owned(),
        ),
        Verdict::Settled(_) | Verdict::Gone => (false, Reason::Progressing, String::new()),
    }
}

fn parts(
    status: &NeonDatabaseStatus,
    desired: &Desired,
    observed: &Observed,
    verdict: &Verdict,
    now: Timestamp,
) -> Parts {
    let yes = |reason: Reason, message: String| (true, reason, message);
    let no = || why_not(verdict);
    let rest = desired.rest.as_ref().ok();
    let branch = match (&status.branch, &observed.branch) {
        (Some(recorded), Fact::Known(branch))
            if observed.older_rival.is_none()
                && observed.served_instead.is_none()
                && !branch.is_unusable() =>
        {
            let name = format!(
                "branch {} ({}){}",
                recorded.name,
                recorded.id,
                how_long(desired, observed)
            );
            let limits = rest.and_then(|rest| left_out(rest, observed, now));
            match (limits, parent_changed(observed)) {
                (Some(limits), _) => yes(Reason::PlanLimited, format!("{name}: {limits}")),
                (None, Some(why)) => yes(Reason::ParentChanged, format!("{name}: {why}")),
                (None, None) => yes(Reason::Succeeded, name),
            }
        }
        (Some(_) | None, _) => no(),
    };
    let ready = branch.0;
    let branch = match plan::replaced::other_default(observed) {
        Some(block) if ready => (false, block.reason, block.message),
        Some(_) | None => branch,
    };
    let compute = match (&observed.endpoint, rest) {
        (Fact::Known(endpoint), Some(rest))
            if ready
                && is_as_asked(endpoint, status, rest)
                && (observed.replica_refused.is_some()
                    || !replicas_are_due(rest, observed, status)) =>
        {
            let host = format!("endpoint {}", endpoint.host);
            let parts: Vec<String> = [host]
                .into_iter()
                .chain(replicas::unstarted(status))
                .collect();
            let host = parts.join("; ");
            match limits(rest, observed, status) {
                Some(limits) => yes(Reason::PlanLimited, format!("{host}: {limits}")),
                None => yes(Reason::Succeeded, host),
            }
        }
        _ => no(),
    };
    let failure = rest.and_then(|rest| start::failure(rest, status));
    let no_compute =
        observed.no_compute.is_some() || blamed(verdict) == Some(ConditionType::ComputeReady);
    let refused = || desired.left_out.settings.values().next().cloned();
    let compute = match failure.or_else(refused) {
        Some(block) if compute.0 => (false, block.reason, block.message),
        None if no_compute => no(),
        Some(_) | None => compute,
    };
    let as_asked = rest.is_some_and(|rest| observed_digest(status, rest));
    let databases = match rest {
        Some(_) if matches!(desired.heritage, Heritage::Missing(_)) => no(),
        Some(_) if !desired.left_out.databases.is_empty() => no(),
        Some(rest) if rest.databases.is_empty() => {
            yes(Reason::NotRequired, "no database is listed".to_owned())
        }
        Some(rest) if ready && as_asked => yes(Reason::Succeeded, contents_message(status, rest)),
        Some(_) | None => no(),
    };
    let credentials = match rest {
        Some(_) if matches!(desired.heritage, Heritage::Missing(_)) => no(),
        Some(_) if !desired.left_out.secrets.is_empty() => no(),
        Some(rest) if rest.secrets.is_empty() => yes(Reason::NotRequired, no_secret(rest)),
        Some(rest) if ready && as_asked && are_out_or_held_back(rest, observed) => {
            held_back(rest, observed).unwrap_or_else(|| yes(Reason::Published, published(rest)))
        }
        Some(_) | None => no(),
    };
    Parts {
        branch,
        compute,
        databases,
        credentials,
    }
}

/// Until when the branch is there, where that is not what the spec makes one expect.
fn how_long(desired: &Desired, observed: &Observed) -> String {
    if let Some(end) = max_age::end(desired, observed) {
        let why = if max_age::own_end(desired, observed) == Some(end) {
            "when its maxAge is over".to_owned()
        } else {
            format!("the time that it was extended to by {EXTEND}")
        };
        return format!(", which is deleted at {end}, {why}");
    }
    let asked = desired.deletion_policy == Some(DeletionPolicy::Delete);
    if asked && !deletion::deletes(desired, &observed.recorded) {
        return ", which stays when this object is deleted, although spec.deletionPolicy is Delete: it was taken over, and \
                spec.branch.existing does not name it by its id"
            .to_owned();
    }
    String::new()
}

fn is_as_asked(endpoint: &Endpoint, status: &NeonDatabaseStatus, rest: &Rest) -> bool {
    let (limit, recorded) = (status.plan_limit.as_ref(), status.endpoint.as_ref());
    !compute::is_due(&rest.compute, limit, recorded, endpoint)
}

fn replicas_are_due(rest: &Rest, observed: &Observed, status: &NeonDatabaseStatus) -> bool {
    let mut changes = replicas::changes(&rest.replicas, &observed.replicas, &status.read_replicas);
    changes.next().is_some()
}

/// Where the branch comes from, where that is not from where it was to come. Nothing is done about it: what a restore does
/// is meant, and what the branch would be made again from stays.
fn parent_changed(observed: &Observed) -> Option<String> {
    let (actual, resolved) = (observed.other_parent.as_ref()?, observed.parent.known()?);
    Some(format!(
        "its parent is {actual}, not {}: one of them was restored or replaced outside of this object",
        resolved.name
    ))
}

/// What the branch has not, though it should, because Neon refuses that.
fn left_out(rest: &Rest, observed: &Observed, now: Timestamp) -> Option<String> {
    let lease = plan::refused_lease(rest, observed, now);
    let protection = plan::refused_protection(rest, observed);
    let all: Vec<&str> = lease
        .into_iter()
        .chain(protection)
        .map(|refused| refused.message.as_str())
        .collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// What the compute has instead of what was wanted.
fn limits(rest: &Rest, observed: &Observed, status: &NeonDatabaseStatus) -> Option<String> {
    let refused = status.plan_limit.as_ref().map(compute::limited);
    let otherwise = status.endpoint.as_ref().and_then(compute::otherwise);
    let replica = observed.replica_refused.as_ref();
    let replica = replica.filter(|_| replicas_are_due(rest, observed, status));
    let all: Vec<String> = refused
        .into_iter()
        .chain(otherwise)
        .chain(replicas::otherwise(status))
        .chain(replica.map(|refused| refused.message.clone()))
        .collect();
    (!all.is_empty()).then(|| all.join("; "))
}

fn observed_digest(status: &NeonDatabaseStatus, rest: &Rest) -> bool {
    status.branch.as_ref().is_some_and(|branch| {
        status.content_digest.as_deref()
            == Some(&rest.content_digest(&branch.id, &branch.incarnation))
    })
}

fn are_out_or_held_back(rest: &Rest, observed: &Observed) -> bool {
    rest.secrets.iter().all(|secret| {
        observed.current_secrets.contains(&secret.name)
            || observed.held_wrong.contains(&secret.name)
            || observed.is_held_back(&secret.name)
    })
}

/// Whoever lists a role expects to get at its credentials.
fn no_secret(rest: &Rest) -> String {
    let hint = if rest.roles.is_empty() {
        ""
    } else {
        ", and the roles have no login: name one in spec.connectionSecrets, which is needed unless exactly one role is ReadWrite \
         and exactly one database is listed"
    };
    format!("no Secret is asked for{hint}")
}

fn published(rest: &Rest) -> String {
    let names: Vec<&str> = rest.secrets.iter().map(|s| s.name.as_str()).collect();
    format!("Secrets: {}", names.join(", "))
}

/// The object is ready all the same: whoever needs the credentials waits for this condition.
fn held_back(rest: &Rest, observed: &Observed) -> Option<Part> {
    let held = rest.secrets.iter().map(|secret| secret.name.as_str());
    let held: Vec<&str> = held.filter(|name| observed.is_held_back(name)).collect();
    if held.is_empty() {
        return None;
    }
    let message = format!(
        "Secrets {} come out after {}",
        held.join(", "),
        observed.held_back_for.join(", ")
    );
    Some((false, Reason::WaitingForMigration, message))
}

/// What could not be granted, and what is in another place than was asked, is told here, because it hinders nothing else.
fn contents_message(status: &NeonDatabaseStatus, rest: &Rest) -> String {
    let lacking: Vec<String> = status
        .roles
        .iter()
        .flat_map(|role| {
            role.not_granted
                .iter()
                .map(|what| format!("{}: {what}", role.name))
        })
        .collect();
    let lacking = (!lacking.is_empty()).then(|| format!("not granted: {}", lacking.join("; ")));
    let elsewhere = rest
        .databases
        .iter()
        .flat_map(|database| elsewhere(status, database));
    let told: Vec<String> = lacking.into_iter().chain(elsewhere).collect();
    told.join("; ")
}

/// Extensions that were installed in another schema than is asked for.
fn elsewhere(status: &NeonDatabaseStatus, wanted: &Database) -> Vec<String> {
    let recorded = status.databases.iter().find(|d| d.name == wanted.name);
    let Some(recorded) = recorded else {
        return Vec::new();
    };
    let told = |asked: &extensions::Wanted| {
        let schema = asked.schema.as_ref()?;
        let found = recorded.extensions.iter().find(|e| e.name == asked.name)?;
        let is_in = found.schema.as_ref().filter(|is_in| *is_in != schema)?;
        let (name, database) = (&asked.name, &wanted.name);
        Some(format!(
            "the extension {name} of the database {database} stays in the schema {is_in}, not in {schema}"
        ))
    };
    wanted.extensions.iter().filter_map(told).collect()
}

fn summary(status: &NeonDatabaseStatus, desired: &Desired) -> String {
    let branch = status.branch.as_ref();
    let branch = branch.map(|branch| format!("branch {} is as asked", branch.name));
    let ignored = desired.asked.ignored(&status.handled).map(str::to_owned);
    let told: Vec<String> = branch.into_iter().chain(ignored).collect();
    told.join("; ")
}

#[cfg(test)]
mod tests;
