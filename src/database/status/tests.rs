//! What the status says, by the rules of kstatus and of the parts.

mod parts;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::json;

use super::*;
use crate::api::{ComputeValues, Environment, NeonDatabaseStatus, PlanLimit};
use crate::database::fixtures::{
    a_branch, desired, effective_takeover, fresh, now, object, recorded, rest, seen, settled,
};
use crate::database::observe::Existing;
use crate::reconcile::{Block, Class, Error, Wait};

const ALL: [&str; 7] = [
    "Ready",
    "Reconciling",
    "Stalled",
    "BranchReady",
    "ComputeReady",
    "DatabasesReady",
    "CredentialsPublished",
];

fn is(status: &NeonDatabaseStatus, type_: &str) -> bool {
    find(status, type_).status == "True"
}

fn find<'a>(status: &'a NeonDatabaseStatus, type_: &str) -> &'a Condition {
    status.conditions.iter().find(|c| c.type_ == type_).unwrap()
}

fn truth(status: &NeonDatabaseStatus) -> Vec<&str> {
    ALL.into_iter().filter(|type_| is(status, type_)).collect()
}

fn settled_verdict() -> Verdict {
    Verdict::Settled(Duration::from_mins(1))
}

fn waiting() -> Verdict {
    Verdict::Waiting(Wait {
        reason: Reason::ParentNotReady,
        message: "the parent mother is not ready".into(),
        after: Duration::from_secs(1),
    })
}

fn blocked() -> Verdict {
    Verdict::Blocked(Block {
        reason: Reason::BranchMissing,
        message: "gone".into(),
    })
}

fn failed(class: Class) -> Verdict {
    Verdict::Failed(Error::new(
        class,
        Reason::NeonUnavailable,
        "Neon: no answer",
    ))
}

fn verdicts() -> Vec<Verdict> {
    vec![
        settled_verdict(),
        Verdict::Suspended(Duration::from_mins(5)),
        Verdict::Acting("creating the branch".into()),
        Verdict::Gone,
        waiting(),
        blocked(),
        failed(Class::Transient),
        failed(Class::RateLimited(None)),
        failed(Class::Conflict),
        failed(Class::Denied),
        failed(Class::Invalid),
        failed(Class::Bug),
    ]
}

#[test]
fn every_condition_is_there_from_the_first_pass_on_and_in_order() {
    let desired = desired(Environment::Staging);
    let nothing = NeonDatabaseStatus::default();
    assert_eq!(nothing.observed_generation, -1);
    for verdict in verdicts() {
        for observed in [None, Some(fresh()), Some(settled(&desired))] {
            let status = project(&nothing, &desired, observed.as_ref(), &verdict, now());
            let types: Vec<&str> = status.conditions.iter().map(|c| c.type_.as_str()).collect();
            assert_eq!(types, ALL, "{verdict:?}");
            assert_eq!(status.observed_generation, 3);
            for condition in &status.conditions {
                assert_eq!(condition.observed_generation, Some(3), "{verdict:?}");
                assert!(!condition.reason.is_empty(), "{verdict:?}");
            }
        }
    }
}

#[test]
fn what_is_settled_is_ready_in_every_part() {
    let desired = desired(Environment::Staging);
    let observed = settled(&desired);
    let status = project(
        &observed.recorded,
        &desired,
        Some(&observed),
        &settled_verdict(),
        now(),
    );
    let parts = [
        "Ready",
        "BranchReady",
        "ComputeReady",
        "DatabasesReady",
        "CredentialsPublished",
    ];
    assert_eq!(truth(&status), parts);
    assert_eq!(
        find(&status, "Ready").message,
        "branch staging/team/it is as asked"
    );
    assert_eq!(find(&status, "CredentialsPublished").message, "Secrets: it");
    assert_eq!(find(&status, "CredentialsPublished").reason, "Published");
}

#[test]
fn at_first_nothing_is_ready_and_every_part_shares_the_story() {
    let desired = desired(Environment::Staging);
    let observed = fresh();
    let status = project(
        &observed.recorded,
        &desired,
        Some(&observed),
        &waiting(),
        now(),
    );
    assert_eq!(truth(&status), ["Reconciling"]);
    for type_ in [
        "Ready",
        "Reconciling",
        "BranchReady",
        "ComputeReady",
        "CredentialsPublished",
    ] {
        let condition = find(&status, type_);
        assert_eq!(condition.reason, "ParentNotReady", "{type_}");
        assert_eq!(
            condition.message, "the parent mother is not ready",
            "{type_}"
        );
    }
}

#[test]
fn a_part_says_what_was_seen_of_it_whatever_became_of_the_whole() {
    let desired = desired(Environment::Staging);
    let of = |change: fn(&mut Observed)| {
        let mut observed = settled(&desired);
        change(&mut observed);
        let status = project(
            &observed.recorded,
            &desired,
            Some(&observed),
            &waiting(),
            now(),
        );
        truth(&status)
            .into_iter()
            .filter(|type_| !["Ready", "Reconciling", "Stalled"].contains(type_))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (branch, compute) = ("BranchReady", "ComputeReady");
    let (databases, credentials) = ("DatabasesReady", "CredentialsPublished");
    assert_eq!(of(|_| ()), [branch, compute, databases, credentials]);
    assert_eq!(
        of(|o| o.current_secrets.clear()),
        [branch, compute, databases]
    );
    assert_eq!(of(|o| o.recorded.content_digest = None), [branch, compute]);
    assert_eq!(
        of(|o| o.endpoint = Fact::Absent),
        [branch, databases, credentials]
    );
    assert!(of(|o| o.branch = Fact::Absent).is_empty());
    assert!(of(|o| seen(o).current_state = crate::neon::BranchState::Resetting).is_empty());
    assert!(of(|o| o.older_rival = Some("x".into())).is_empty());
    // what is inside was true of another life of the branch
    assert_eq!(
        of(|o| recorded(o).incarnation = "old".into()),
        [branch, compute]
    );
}

#[test]
fn what_neon_stores_otherwise_than_sent_counts_as_asked_and_is_told() {
    let desired = desired(Environment::Staging);
    let mut observed = settled(&desired);
    if let Fact::Known(endpoint) = &mut observed.endpoint {
        endpoint.suspend_timeout_seconds = -1;
    }
    let compute = |observed: &Observed| {
        let status = project(
            &observed.recorded,
            &desired,
            Some(observed),
            &waiting(),
            now(),
        );
        let ready = is(&status, "ComputeReady");
        let condition = find(&status, "ComputeReady").clone();
        (
            ready,
            status.endpoint.unwrap().suspend_after,
            condition.reason,
            condition.message,
        )
    };
    let (ready, suspend_after, ..) = compute(&observed);
    assert_eq!((ready, suspend_after.as_str()), (false, "never"));
    let values = |suspend: &str| {
        let values = json!({"minCU": 0.25, "maxCU": 1.0, "suspendAfter": suspend});
        Some(serde_json::from_value(values).unwrap())
    };
    let endpoint = observed.recorded.endpoint.as_mut().unwrap();
    (endpoint.requested, endpoint.stored) = (values("300s"), values("never"));
    let (ready, suspend_after, reason, message) = compute(&observed);
    assert_eq!((ready, suspend_after.as_str()), (true, "never"));
    assert_eq!(reason, "PlanLimited");
    assert!(
        message.contains("suspendAfter never instead of 5m"),
        "{message}"
    );
}

#[test]
fn a_value_of_the_profile_that_the_plan_refuses_is_told_until_it_is_another() {
    let desired = desired(Environment::Staging);
    let mut observed = settled(&desired);
    observed.recorded.plan_limit = Some(PlanLimit {
        suspend_after: Some("300s".into()),
        message: "not on this plan".into(),
        ..PlanLimit::default()
    });
    let of = |observed: &Observed, desired: &Desired| {
        project(
            &observed.recorded,
            desired,
            Some(observed),
            &waiting(),
            now(),
        )
    };
    let status = of(&observed, &desired);
    let compute = find(&status, "ComputeReady");
    assert_eq!(
        (compute.status.as_str(), compute.reason.as_str()),
        ("True", "PlanLimited")
    );
    assert!(
        compute.message.contains("suspendAfter 5m"),
        "{}",
        compute.message
    );
    assert!(
        compute.message.ends_with("not on this plan"),
        "{}",
        compute.message
    );
    let explicit = json!({"compute": {"suspendAfter": "5m"}});
    let explicit = Desired::of(&object(Environment::Staging, explicit), "default");
    assert_eq!(of(&observed, &explicit).plan_limit, None);
}

#[test]
fn what_the_endpoint_has_anyway_counts_as_asked_for() {
    let desired = desired(Environment::Staging);
    let observed = settled(&desired);
    let status = project(
        &observed.recorded,
        &desired,
        Some(&observed),
        &waiting(),
        now(),
    );
    let endpoint = status.endpoint.unwrap();
    let asked = rest(&desired).compute.asked(None);
    assert_eq!(endpoint.requested, Some(asked.clone()));
    assert_eq!(endpoint.stored, Some(asked));
}

#[test]
fn an_object_that_is_stalled_stays_so_while_it_is_tried_again() {
    let desired = desired(Environment::Staging);
    let observed = settled(&desired);
    let of = |recorded: &NeonDatabaseStatus, verdict: &Verdict, desired: &Desired| {
        project(recorded, desired, Some(&observed), verdict, now())
    };
    let block = crate::reconcile::Block {
        reason: Reason::NeonRejected,
        message: "no".into(),
    };
    let stalled = of(&observed.recorded, &Verdict::Blocked(block), &desired);
    assert!(is(&stalled, "Stalled"));
    let acting = Verdict::Acting("x".into());
    assert_eq!(
        of(&stalled, &acting, &desired).conditions,
        stalled.conditions
    );
    let settled = of(
        &stalled,
        &Verdict::Settled(std::time::Duration::from_mins(1)),
        &desired,
    );
    assert!(is(&settled, "Ready") && !is(&settled, "Stalled"));
    // another spec is another story
    let edited = Desired {
        generation: desired.generation + 1,
        ..desired.clone()
    };
    let edited = of(&stalled, &acting, &edited);
    assert!(is(&edited, "Reconciling") && !is(&edited, "Stalled"));
}

#[test]
fn credentials_that_are_held_back_are_not_published_beside_a_ready_object() {
    let desired = desired(Environment::Staging);
    let mut observed = settled(&desired);
    observed.current_secrets.clear();
    observed.recorded.connection_secrets.clear();
    observed.held_back_for = vec!["SepulkiMigration it".into()];
    let verdict = Verdict::Settled(std::time::Duration::from_mins(1));
    let status = project(
        &observed.recorded,
        &desired,
        Some(&observed),
        &verdict,
        now(),
    );
    assert!(is(&status, "Ready") && is(&status, "DatabasesReady"));
    let credentials = find(&status, "CredentialsPublished");
    assert_eq!(
        (credentials.status.as_str(), credentials.reason.as_str()),
        ("False", "WaitingForMigration")
    );
    for part in ["it", "SepulkiMigration it"] {
        assert!(
            credentials.message.contains(part),
            "{}",
            credentials.message
        );
    }
}

#[test]
fn what_is_not_asked_for_is_true_and_says_so() {
    let bare = object(Environment::Staging, json!({"databases": [], "roles": []}));
    let desired = Desired::of(&bare, "default");
    let status = project(
        &NeonDatabaseStatus::default(),
        &desired,
        Some(&fresh()),
        &waiting(),
        now(),
    );
    for type_ in ["DatabasesReady", "CredentialsPublished"] {
        assert_eq!(find(&status, type_).status, "True");
        assert_eq!(find(&status, type_).reason, "NotRequired");
    }
}

#[test]
fn reconciling_and_stalled_are_never_true_together_nor_beside_ready() {
    let desired = desired(Environment::Staging);
    let observed = settled(&desired);
    for verdict in verdicts() {
        let status = project(
            &observed.recorded,
            &desired,
            Some(&observed),
            &verdict,
            now(),
        );
        let [ready, reconciling, stalled] =
            ["Ready", "Reconciling", "Stalled"].map(|type_| is(&status, type_));
        assert!(!(reconciling && stalled), "{verdict:?}");
        assert!(!(ready && (reconciling || stalled)), "{verdict:?}");
    }
}

#[test]
fn ready_keeps_its_value_under_suspend() {
    let desired = Desired {
        generation: 4,
        suspend: true,
        ..desired(Environment::Staging)
    };
    let observed = settled(&desired);
    let suspended = Verdict::Suspended(Duration::from_mins(5));
    for (before, ready) in [
        (settled_verdict(), true),
        (waiting(), false),
        (blocked(), false),
    ] {
        let was = project(
            &observed.recorded,
            &desired,
            Some(&observed),
            &before,
            now(),
        );
        let status = project(&was, &desired, Some(&observed), &suspended, now());
        assert_eq!(is(&status, "Ready"), ready);
        assert_eq!(find(&status, "Ready").reason, "Suspended");
        assert_eq!(status.observed_generation, 4);
        assert!(!is(&status, "Reconciling") && !is(&status, "Stalled"));
    }
}

#[test]
fn what_was_true_of_an_earlier_version_of_the_spec_does_not_count_for_a_later_one() {
    let before = desired(Environment::Staging);
    let observed = settled(&before);
    let was = project(
        &observed.recorded,
        &before,
        Some(&observed),
        &settled_verdict(),
        now(),
    );
    let later = Desired {
        generation: before.generation + 1,
        ..before.clone()
    };
    // nothing can be looked at: whether a new extension is there nobody knows
    let status = project(&was, &later, None, &failed(Class::Transient), now());
    for part in PARTS.map(ConditionType::as_str) {
        let part = find(&status, part);
        let told = (part.status.as_str(), part.observed_generation);
        assert_eq!(told, ("True", Some(before.generation)), "{}", part.type_);
    }
    let ready = find(&status, "Ready");
    assert_eq!(ready.observed_generation, Some(later.generation));
}

#[test]
fn projecting_again_later_changes_nothing() {
    for environment in [Environment::Production, Environment::Preview] {
        let desired = desired(environment);
        for observed in [None, Some(fresh()), Some(settled(&desired))] {
            for verdict in verdicts() {
                let recorded = observed
                    .as_ref()
                    .map_or_else(Default::default, |o| o.recorded.clone());
                let once = project(&recorded, &desired, observed.as_ref(), &verdict, now());
                let later = now() + jiff::SignedDuration::from_hours(5);
                let twice = project(&once, &desired, observed.as_ref(), &verdict, later);
                assert_eq!(once, twice, "{verdict:?}");
            }
        }
    }
}

#[test]
fn a_flip_has_the_time_at_which_it_happened() {
    let desired = desired(Environment::Staging);
    let observed = settled(&desired);
    let later = now() + jiff::SignedDuration::from_hours(1);
    let was = project(
        &observed.recorded,
        &desired,
        Some(&observed),
        &waiting(),
        now(),
    );
    let is_now = project(&was, &desired, Some(&observed), &settled_verdict(), later);
    assert_eq!(find(&is_now, "Ready").last_transition_time.0, later);
    assert_eq!(find(&is_now, "Reconciling").last_transition_time.0, later);
    assert_eq!(find(&is_now, "BranchReady").last_transition_time.0, now());
}

#[test]
fn an_outage_leaves_the_parts_as_they_were() {
    let desired = desired(Environment::Staging);
    let observed = settled(&desired);
    let was = project(
        &observed.recorded,
        &desired,
        Some(&observed),
        &settled_verdict(),
        now(),
    );
    let status = project(&was, &desired, None, &failed(Class::Transient), now());
    let parts = [
        "BranchReady",
        "ComputeReady",
        "DatabasesReady",
        "CredentialsPublished",
    ];
    assert_eq!(truth(&status)[1..], parts);
    for part in parts {
        assert_eq!(find(&status, part), find(&was, part));
    }
    assert_eq!(find(&was, "CredentialsPublished").reason, "Published");
    assert_eq!(find(&status, "Ready").message, "Neon: no answer");
    assert_eq!(status.branch, was.branch);
    let status = project(
        &NeonDatabaseStatus::default(),
        &desired,
        None,
        &failed(Class::Transient),
        now(),
    );
    assert_eq!(truth(&status), ["Reconciling"]);
}

#[test]
fn what_neon_says_of_branch_and_endpoint_is_shown() {
    let desired = desired(Environment::Staging);
    let mut observed = settled(&desired);
    seen(&mut observed).name = "renamed".into();
    seen(&mut observed).expires_at = Some(now());
    let status = project(
        &observed.recorded,
        &desired,
        Some(&observed),
        &waiting(),
        now(),
    );
    let branch = status.branch.unwrap();
    assert_eq!(branch.name, "renamed");
    assert_eq!(branch.expiry_time.unwrap().0, now());
    // the identity and what was recorded of it are not Neon's to change
    assert_eq!(branch.id, "br-it");
    observed.recorded.branch = None;
    let status = project(
        &observed.recorded,
        &desired,
        Some(&observed),
        &waiting(),
        now(),
    );
    assert_eq!((status.branch, status.endpoint), (None, None));
}

#[test]
fn what_could_not_be_granted_is_told_and_hinders_nothing() {
    let desired = desired(Environment::Staging);
    let mut observed = settled(&desired);
    observed.recorded.roles[0].not_granted =
        vec!["SELECT on TABLE public.theirs in the database app, which another role owns".into()];
    let status = project(
        &observed.recorded,
        &desired,
        Some(&observed),
        &settled_verdict(),
        now(),
    );
    assert!(is(&status, "Ready") && is(&status, "DatabasesReady"));
    assert_eq!(
        find(&status, "DatabasesReady").message,
        "not granted: web: SELECT on TABLE public.theirs in the database app, which another role owns"
    );
}

#[test]
fn an_extension_that_stays_in_another_schema_is_told_of_the_database_it_is_in() {
    let extension = |schema: &str| json!([{"name": "postgis", "schema": schema}]);
    let told = |first: &str, second: &str| {
        let spec = json!({"databases": [
            {"name": "app", "extensions": extension(first)},
            {"name": "reports", "extensions": extension(second)},
        ]});
        let desired = Desired::of(&object(Environment::Staging, spec), "default");
        let mut observed = settled(&desired);
        let found = |name: &str, schema: &str| {
            serde_json::from_value(json!({
                "name": name, "owner": "app_owner", "created": true, "extensions": [
                    {"name": "ltree", "version": "1.3", "schema": "elsewhere"},
                    {"name": "postgis", "version": "3.5", "schema": schema},
                ],
            }))
            .unwrap()
        };
        observed.recorded.databases = vec![found("app", "public"), found("reports", "maps")];
        let status = project(
            &observed.recorded,
            &desired,
            Some(&observed),
            &settled_verdict(),
            now(),
        );
        find(&status, "DatabasesReady").message.clone()
    };
    assert!(!told("public", "maps").contains("postgis"));
    assert_eq!(
        told("maps", "maps"),
        "the extension postgis of the database app stays in the schema public, not in maps"
    );
    assert_eq!(
        told("public", "public"),
        "the extension postgis of the database reports stays in the schema maps, not in public"
    );
}

#[test]
fn an_object_that_was_settled_is_reconciling_while_something_is_done() {
    let desired = desired(Environment::Staging);
    let observed = settled(&desired);
    let of = |recorded: &NeonDatabaseStatus, verdict: &Verdict| {
        project(recorded, &desired, Some(&observed), verdict, now())
    };
    let settled = of(&observed.recorded, &settled_verdict());
    let acting = of(&settled, &Verdict::Acting("resizing the compute".into()));
    assert_eq!(find(&acting, "Reconciling").status, "True");
    assert_eq!(find(&acting, "Reconciling").message, "resizing the compute");
}

#[test]
fn what_was_asked_of_another_endpoint_says_nothing_of_this_one() {
    let desired = desired(Environment::Staging);
    let mut observed = settled(&desired);
    if let Fact::Known(endpoint) = &mut observed.endpoint {
        endpoint.suspend_timeout_seconds = -1;
    }
    let values = |suspend: &str| {
        let values = json!({"minCU": 0.25, "maxCU": 1.0, "suspendAfter": suspend});
        Some(serde_json::from_value(values).unwrap())
    };
    let before = observed.recorded.endpoint.as_mut().unwrap();
    before.id = "ep-before".into();
    (before.requested, before.stored) = (values("60s"), values("60s"));
    let status = project(
        &observed.recorded,
        &desired,
        Some(&observed),
        &waiting(),
        now(),
    );
    let endpoint = status.endpoint.unwrap();
    assert_eq!(endpoint.id, "ep-it");
    assert_eq!((endpoint.requested, endpoint.stored), (None, None));
}

#[test]
fn while_the_parent_it_inherits_from_is_missing_nothing_is_known_to_be_asked_for() {
    let bare = object(Environment::Staging, json!({"databases": [], "roles": []}));
    let desired = Desired {
        heritage: Heritage::Missing("mother".into()),
        ..Desired::of(&bare, "default")
    };
    let observed = settled(&desired);
    let status = project(
        &observed.recorded,
        &desired,
        Some(&observed),
        &waiting(),
        now(),
    );
    for type_ in ["DatabasesReady", "CredentialsPublished"] {
        assert_eq!(find(&status, type_).status, "False", "{type_}");
    }
}

/// What is said of the branch where it and the object are ready.
fn of_ready_branch(observed: &Observed, desired: &Desired) -> (String, String) {
    let verdict = settled_verdict();
    let status = project(&observed.recorded, desired, Some(observed), &verdict, now());
    assert!(is(&status, "Ready") && is(&status, "BranchReady"));
    let branch = find(&status, "BranchReady");
    (branch.reason.clone(), branch.message.clone())
}

#[test]
fn protection_that_neon_refuses_is_told_beside_a_ready_branch() {
    let desired = desired(Environment::Production);
    let mut observed = settled(&desired);
    let refused = crate::reconcile::Block {
        reason: Reason::LimitReached,
        message: "Neon does not protect it".into(),
    };
    observed.protection_refused = Some(refused);
    assert_eq!(of_ready_branch(&observed, &desired).0, "Succeeded");
    seen(&mut observed).protected = false;
    let (reason, message) = of_ready_branch(&observed, &desired);
    assert_eq!(reason, "PlanLimited");
    assert!(message.ends_with(": Neon does not protect it"), "{message}");
    let staging = crate::database::fixtures::desired(Environment::Staging);
    let mut unasked = settled(&staging);
    unasked.protection_refused = observed.protection_refused.clone();
    assert_eq!(of_ready_branch(&unasked, &staging).0, "Succeeded");
}

#[test]
fn a_lease_that_neon_refuses_is_told_beside_a_ready_branch() {
    let desired = desired(Environment::Preview);
    let mut observed = settled(&desired);
    observed.lease_refused = Some(crate::reconcile::Block {
        reason: Reason::NeonRejected,
        message: "Neon refuses the lease".into(),
    });
    observed.protection_refused = Some(crate::reconcile::Block {
        reason: Reason::LimitReached,
        message: "nor protects it".into(),
    });
    let told = |observed: &Observed| of_ready_branch(observed, &desired);
    assert_eq!(told(&observed).0, "Succeeded");
    seen(&mut observed).expires_at = None;
    let (reason, message) = told(&observed);
    assert_eq!(reason, "PlanLimited");
    assert!(message.ends_with(": Neon refuses the lease"), "{message}");
}

#[test]
fn until_when_a_branch_lives_and_why_is_told_beside_a_ready_branch() {
    let desired = desired(Environment::Preview);
    let mut observed = settled(&desired);
    let told = |observed: &Observed| of_ready_branch(observed, &desired).1;
    let end = max_age::own_end(&desired, &observed).unwrap();
    let deleted_at = |end: Timestamp| format!(", which is deleted at {end}, ");
    let of_age = told(&observed);
    assert!(
        of_age.contains(&(deleted_at(end) + "when its maxAge is over")),
        "{of_age}"
    );
    let later = end + jiff::SignedDuration::from_hours(1);
    observed.recorded.handled.extension_time = Some(Time(later));
    let extended = told(&observed);
    assert!(
        extended.contains(&(deleted_at(later) + "the time that it was extended to")),
        "{extended}"
    );
    assert!(extended.contains(EXTEND), "{extended}");
}

#[test]
fn a_parent_that_the_branch_was_not_to_have_is_told_beside_a_ready_branch() {
    let desired = desired(Environment::Staging);
    let mut observed = settled(&desired);
    observed.other_parent = Some("kept (br-kept)".into());
    let told = |observed: &Observed| of_ready_branch(observed, &desired);
    let (reason, message) = told(&observed);
    assert_eq!(reason, "ParentChanged");
    assert!(message.contains("kept (br-kept), not mother"), "{message}");
    observed.parent = Fact::Absent;
    assert_eq!(told(&observed).0, "Succeeded");
}

#[test]
fn the_parent_of_another_incarnation_is_recorded_together_with_it() {
    let desired = desired(Environment::Staging);
    let mut observed = settled(&desired);
    seen(&mut observed).parent_id = Some("br-other".into());
    let parent = |observed: &Observed| {
        let recorded = &observed.recorded;
        let status = project(recorded, &desired, Some(observed), &waiting(), now());
        status.branch.and_then(|branch| branch.parent_id)
    };
    assert_eq!(parent(&observed).as_deref(), Some("br-other"));
    let before = observed.recorded.branch.clone().unwrap();
    recorded(&mut observed).incarnation = "of before".into();
    assert_eq!(parent(&observed), before.parent_id);
}

#[test]
fn another_default_is_told_of_a_branch_that_is_there_and_of_no_other() {
    let desired = desired(Environment::Production);
    let mut observed = settled(&desired);
    recorded(&mut observed).taken_over = true;
    observed.recorded.effective = Some(effective_takeover());
    let reason = |observed: &Observed| {
        let recorded = &observed.recorded;
        let status = project(recorded, &desired, Some(observed), &waiting(), now());
        assert!(is(&status, "BranchReady") == (find(&status, "BranchReady").reason == "Succeeded"));
        find(&status, "BranchReady").reason.clone()
    };
    assert_eq!(reason(&observed), "Succeeded");
    observed.existing = Fact::Known(Existing {
        branch: a_branch("br-new", "main"),
        holder: None,
    });
    assert_eq!(reason(&observed), "BranchReplaced");
    observed.branch = Fact::Absent;
    assert_eq!(reason(&observed), "ParentNotReady");
}

#[test]
fn when_a_branch_was_first_usable_is_recorded_once() {
    let desired = desired(Environment::Staging);
    let mut observed = settled(&desired);
    let told = |observed: &Observed| {
        let status = project(
            &observed.recorded,
            &desired,
            Some(observed),
            &waiting(),
            now(),
        );
        status.branch.unwrap().ready_time.map(|time| time.0)
    };
    let before = observed
        .recorded
        .branch
        .as_ref()
        .unwrap()
        .ready_time
        .clone();
    assert_eq!(told(&observed), before.map(|time| time.0));
    recorded(&mut observed).ready_time = None;
    assert_eq!(told(&observed), Some(now()));
    seen(&mut observed).current_state = crate::neon::BranchState::Init;
    assert_eq!(told(&observed), None);
}

/// What `ComputeReady` says of an object that stands like this: whether it is, and its reason.
fn of_compute(desired: &Desired, observed: &Observed, verdict: &Verdict) -> (bool, String) {
    let status = project(&observed.recorded, desired, Some(observed), verdict, now());
    let compute = find(&status, "ComputeReady");
    (is(&status, "ComputeReady"), compute.reason.clone())
}

#[test]
fn a_compute_that_cannot_run_or_has_not_what_was_asked_is_not_ready_whatever_else_goes_on() {
    let staging = desired(Environment::Staging);
    let usual = settled(&staging);
    let told = |desired: &Desired, observed: &Observed| of_compute(desired, observed, &waiting());
    let no = |reason: &str| (false, reason.to_owned());
    assert_eq!(told(&staging, &usual), (true, "Succeeded".to_owned()));

    let mut failed = usual.clone();
    let endpoint = failed.recorded.endpoint.as_mut().unwrap();
    endpoint.requested = Some(rest(&staging).compute.asked(None));
    endpoint.failure = Some("out of memory".into());
    assert_eq!(told(&staging, &failed), no("OperationFailed"));
    let mut other = failed.clone();
    let endpoint = other.recorded.endpoint.as_mut().unwrap();
    endpoint.requested = Some(ComputeValues::default());
    assert_eq!(told(&staging, &other), (true, "Succeeded".to_owned()));
    // it was seen to run since
    if let Fact::Known(endpoint) = &mut failed.endpoint {
        endpoint.current_state = crate::neon::EndpointState::Active;
    }
    assert_eq!(told(&staging, &failed), (true, "Succeeded".to_owned()));

    let mut refused = staging.clone();
    let why = Block {
        reason: Reason::DatabaseRejected,
        message: "no".into(),
    };
    refused.left_out.settings.insert("work_mem".into(), why);
    assert_eq!(told(&refused, &usual), no("DatabaseRejected"));

    let mut asleep = usual.clone();
    asleep.no_compute = Some("no further compute".into());
    assert_eq!(told(&staging, &asleep), no("ParentNotReady"));
}

#[test]
fn an_error_that_is_the_computes_is_told_by_its_condition_even_where_nothing_was_looked_at() {
    let staging = desired(Environment::Staging);
    let mut observed = settled(&staging);
    let of = |observed: &Observed, verdict: &Verdict, looked: bool| {
        let looked = looked.then_some(observed);
        project(&observed.recorded, &staging, looked, verdict, now())
    };
    observed.recorded = of(&observed, &settled_verdict(), true);
    let limit = || Error::new(Class::Transient, Reason::LimitReached, "no further compute");
    for looked in [true, false] {
        let blamed = Verdict::Failed(limit().about(ConditionType::ComputeReady));
        let status = of(&observed, &blamed, looked);
        assert!(!is(&status, "ComputeReady") && is(&status, "BranchReady"));
        assert_eq!(find(&status, "ComputeReady").reason, "LimitReached");
        // as where there is no room for one more role
        let status = of(&observed, &Verdict::Failed(limit()), looked);
        assert!(is(&status, "ComputeReady"));
    }
}
