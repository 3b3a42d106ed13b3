//! What annotations ask for, and what limits a branch's life: each acts once.

use std::sync::Arc;

use jiff::SignedDuration;
use sepulki::api::{ABANDON, EXTEND, RECONCILE, RESET, RETRY, Reason};
use sepulki::neon::BranchState;
use serde_json::json;

use crate::database::{condition, reconciling, says, stalled};
use crate::invariants::check;
use crate::scene::{FILES, child_of, production_and_preview, settled, simple, with};
use crate::world::faults::Fault;
use crate::world::operator::Operator;
use crate::world::{NAMESPACE, Sim};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn short_lived(sim: &Sim) {
    let branch =
        json!({"branch": {"parent": {"databaseRef": {"name": "production"}}, "maxAge": "2h"}});
    sim.database("production", "production", simple());
    sim.database("pr-7", "preview", with(simple(), branch));
}

pub fn events(operator: &Operator, part: &str) -> usize {
    operator.sim.lock().said.matches(part).count()
}

#[tokio::test(start_paused = true)]
async fn a_preview_that_is_too_old_goes_and_comes_back_where_it_is_extended() {
    let mut operator = settled(short_lived).await;
    operator.run_for(HOUR).await;
    check(&operator.sim, &[]);
    operator.run_for(HOUR * 2).await;
    let sim = operator.sim.clone();
    let message = stalled(&sim.get_database("pr-7").unwrap(), Reason::Expired);
    says(&message, &["maxAge", EXTEND]);
    assert_eq!(sim.branch_names(), ["main"]);
    assert!(sim.secret("pr-7").is_none());

    let until = sim.now() + HOUR;
    sim.annotate_database("pr-7", EXTEND, &until.to_string());
    operator.settle().await;
    check(&sim, &[]);
    operator.run_for(HOUR * 2).await;
    stalled(&sim.get_database("pr-7").unwrap(), Reason::Expired);
    assert_eq!(sim.branch_names(), ["main"]);
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_went_when_its_time_was_over_is_not_told_to_be_lost() {
    let mut operator = settled(short_lived).await;
    let sim = operator.sim.clone();
    // nobody looks while its time comes to an end
    sim.at_neon(|project, _| project.branches.truncate(1));
    sim.advance(HOUR * 3).await;
    operator.run_for(HOUR).await;
    stalled(&sim.get_database("pr-7").unwrap(), Reason::Expired);
    assert_eq!(events(&operator, "deleted outside"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_extension_ahead_of_time_keeps_branch_and_secret_as_they_are() {
    let mut operator = settled(short_lived).await;
    let sim = operator.sim.clone();
    let (branches, secret) = (sim.branch_names(), sim.secret("pr-7"));
    let until = sim.now() + HOUR * 10;
    sim.annotate_database("pr-7", EXTEND, &until.to_string());
    operator.run_for(HOUR * 9).await;
    assert_eq!((sim.branch_names(), sim.secret("pr-7")), (branches, secret));
    let (_, _, message) = condition(&sim.get_database("pr-7").unwrap(), "BranchReady");
    says(&message, &["deleted at", "extended to", EXTEND]);
    check(&sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_time_that_is_none_is_told_once_and_changes_nothing() {
    let mut operator = settled(short_lived).await;
    operator.sim.annotate_database("pr-7", EXTEND, "tomorrow");
    operator.run_for(HOUR).await;
    assert_eq!(events(&operator, "AnnotationIgnored"), 1);
    says(&operator.sim.lock().said, &["tomorrow", "RFC 3339"]);
    check(&operator.sim, &[]);
    // an event may be lost, so the object says it as long as the annotation is there
    let ready =
        |operator: &Operator| condition(&operator.sim.get_database("pr-7").unwrap(), "Ready").2;
    says(&ready(&operator), &["as asked", EXTEND, "tomorrow"]);
    let until = operator.sim.now() + HOUR * 3;
    operator
        .sim
        .annotate_database("pr-7", EXTEND, &until.to_string());
    operator.settle().await;
    assert_eq!(ready(&operator), "branch preview/team/pr-7 is as asked");
}

#[tokio::test(start_paused = true)]
async fn an_extension_that_means_nothing_leaves_the_one_before_as_it_is() {
    let mut operator = settled(short_lived).await;
    let sim = operator.sim.clone();
    let until = sim.now() + HOUR * 10;
    sim.annotate_database("pr-7", EXTEND, &until.to_string());
    operator.settle().await;
    for (given, part) in [
        ("9999-01-01T00:00:00Z", "more than a year"),
        ("soon", "RFC 3339"),
    ] {
        sim.annotate_database("pr-7", EXTEND, given);
        operator.run_for(HOUR * 2).await;
        let ready = condition(&sim.get_database("pr-7").unwrap(), "Ready");
        assert!(ready.0, "{given} has ended the branch's life");
        says(&ready.2, &[given, part]);
    }
    operator.run_for(HOUR * 10).await;
    stalled(&sim.get_database("pr-7").unwrap(), Reason::Expired);
}

#[tokio::test(start_paused = true)]
async fn an_extension_of_what_lives_for_ever_is_told() {
    let mut operator = settled(short_lived).await;
    let sim = operator.sim.clone();
    let until = sim.now() + HOUR;
    sim.annotate_database("production", EXTEND, &until.to_string());
    operator.settle().await;
    let (ready, _, message) = condition(&sim.get_database("production").unwrap(), "Ready");
    assert!(ready);
    says(&message, &[EXTEND, "has no maxAge"]);
}

#[tokio::test(start_paused = true)]
async fn looking_again_repairs_what_nobody_would_have_noticed_and_acts_once() {
    let mut operator = settled(production_and_preview).await;
    let sim = operator.sim.clone();
    sim.at_neon(|project, _| {
        let server = &mut project.branches[1].server;
        server.databases.get_mut("app").unwrap().grants.clear();
    });
    operator.run_for(HOUR).await;
    let sessions = sim.lock().sessions;
    sim.annotate_database("pr-7", RECONCILE, "after somebody was here");
    operator.settle().await;
    check(&sim, &FILES);
    let after = sim.lock().sessions;
    assert!(after > sessions);
    operator.run_for(HOUR).await;
    assert_eq!(
        sim.lock().sessions,
        after,
        "looked again without being asked"
    );
}

#[tokio::test(start_paused = true)]
async fn looking_again_takes_no_readiness_away() {
    for spec in [simple(), json!({})] {
        let sim = Sim::new();
        sim.database("production", "production", spec);
        let mut operator = Operator::new(&sim);
        operator.settle().await;
        let since = || {
            let object = sim.get_database("production").unwrap();
            let conditions = object.status.unwrap().conditions;
            let ready = conditions.into_iter().find(|c| c.type_ == "Ready").unwrap();
            assert_eq!(ready.status, "True");
            ready.last_transition_time
        };
        let before = since();
        operator.run_for(HOUR).await;
        for (annotation, value) in [(RECONCILE, "1"), (RETRY, "2"), (EXTEND, "tomorrow")] {
            sim.annotate_database("production", annotation, value);
            operator.settle().await;
            assert_eq!(since(), before, "{annotation}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_corrected_is_noticed_at_once_where_somebody_asks() {
    let sim = Sim::new();
    let key = || (NAMESPACE.to_owned(), "neon-api-key".to_owned());
    let good = sim.lock().kubernetes.secrets.remove(&key()).unwrap();
    sim.database("production", "production", simple());
    let mut operator = Operator::new(&sim);
    operator.run_for(SignedDuration::from_secs(1)).await;
    reconciling(
        &sim.get_database("production").unwrap(),
        Reason::KeyNotFound,
    );
    sim.lock().kubernetes.secrets.insert(key(), good);
    sim.annotate_database("production", RETRY, "1");
    operator.run_for(SignedDuration::from_secs(20)).await;
    check(&sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_branch_stays_and_needs_no_key() {
    let sim = Sim::new();
    sim.database("production", "production", simple());
    sim.database("pr-7", "preview", with(simple(), child_of("production")));
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    let key = (NAMESPACE.to_owned(), "neon-api-key".to_owned());
    sim.lock().kubernetes.secrets.remove(&key);
    operator.run_for(SignedDuration::from_mins(2)).await;
    sim.delete_database("pr-7");
    operator.run_for(SignedDuration::from_mins(3)).await;
    let going = sim.get_database("pr-7").unwrap();
    reconciling(&going, Reason::KeyNotFound);
    sim.annotate_database("pr-7", ABANDON, "br-another");
    operator.run_for(SignedDuration::from_mins(3)).await;
    let branch = sim.get_database("pr-7").unwrap().status.unwrap().branch;
    sim.annotate_database("pr-7", ABANDON, &branch.unwrap().id);
    operator.run_for(SignedDuration::from_mins(1)).await;
    assert!(sim.get_database("pr-7").is_none());
    assert_eq!(sim.branch_names().len(), 2);
    let kept = sim.lock();
    let secret = &kept.kubernetes.secrets[&(NAMESPACE.to_owned(), "pr-7".to_owned())];
    assert_eq!(secret.secret.metadata.owner_references, None);
}

#[tokio::test(start_paused = true)]
async fn a_branch_is_not_abandoned_before_its_object_is_deleted() {
    let mut operator = settled(production_and_preview).await;
    let sim = operator.sim.clone();
    let id = sim.at_neon(|project, _| project.branches[1].branch.id.clone());
    sim.annotate_database("pr-7", ABANDON, id.as_str());
    operator.run_for(HOUR).await;
    assert_eq!(events(&operator, "AnnotationIgnored"), 1);
    let (ready, _, message) = condition(&sim.get_database("pr-7").unwrap(), "Ready");
    assert!(ready);
    says(&message, &[ABANDON, "not being deleted"]);
    // forgotten by whoever set it, it does not act at a deletion that is meant
    let key = (NAMESPACE.to_owned(), "neon-api-key".to_owned());
    let secret = sim.lock().kubernetes.secrets.remove(&key).unwrap();
    // long enough that the key is not remembered as just read
    operator.run_for(SignedDuration::from_mins(2)).await;
    sim.delete_database("pr-7");
    operator.run_for(HOUR).await;
    let going = sim.get_database("pr-7").unwrap();
    says(
        &reconciling(&going, Reason::KeyNotFound),
        &["take the annotation away"],
    );
    sim.lock().kubernetes.secrets.insert(key, secret);
    operator.run_for(HOUR).await;
    assert!(sim.get_database("pr-7").is_none());
    assert_eq!(sim.branch_names(), ["main"]);
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_was_abandoned_too_early_can_be_abandoned_again() {
    let mut operator = settled(production_and_preview).await;
    let sim = operator.sim.clone();
    let id = sim.at_neon(|project, _| project.branches[1].branch.id.clone());
    sim.annotate_database("pr-7", ABANDON, id.as_str());
    operator.settle().await;
    sim.at_neon(|project, _| {
        project.branches[1].branch.expires_at = None;
        project.branches[1].branch.protected = true;
    });
    sim.delete_database("pr-7");
    operator.run_for(SignedDuration::from_mins(3)).await;
    stalled(&sim.get_database("pr-7").unwrap(), Reason::BranchProtected);
    sim.edit_database("pr-7", |object| object.metadata.annotations = None);
    operator.run_for(SignedDuration::from_mins(3)).await;
    stalled(&sim.get_database("pr-7").unwrap(), Reason::BranchProtected);
    sim.annotate_database("pr-7", ABANDON, id.as_str());
    operator.run_for(SignedDuration::from_mins(3)).await;
    assert!(sim.get_database("pr-7").is_none());
    assert_eq!(sim.branch_names().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_reset_brings_back_the_parents_data_once_and_the_secret_works_again() {
    let mut operator = settled(production_and_preview).await;
    let sim = operator.sim.clone();
    let before = sim.secret("pr-7").unwrap();
    let id = sim.at_neon(|project, _| project.branches[1].branch.id.clone());
    let request = format!("{id}@{}", sim.now());
    sim.annotate_database("pr-7", RESET, &request);
    operator.settle().await;
    check(&sim, &FILES);
    // the parent's login has the same name, and nothing forces the branch's own to another one
    assert_eq!(sim.secret("pr-7").unwrap(), before);
    let resets = || {
        let state = sim.lock();
        let mutations = state.neon.calls.mutations.iter();
        mutations
            .filter(|what| what.starts_with("reset branch"))
            .count()
    };
    assert_eq!(resets(), 1);
    operator.run_for(HOUR).await;
    // the same again, by another hand or from another clone of the repository
    sim.annotate_database("pr-7", RECONCILE, "1");
    sim.annotate_database("pr-7", RESET, &request);
    operator.run_for(HOUR).await;
    assert_eq!(resets(), 1);
    // found late
    sim.annotate_database("pr-7", RESET, &format!("{id}@{}", sim.now() - HOUR));
    operator.settle().await;
    assert_eq!((resets(), events(&operator, "AnnotationIgnored")), (1, 1));
    let ready = || condition(&sim.get_database("pr-7").unwrap(), "Ready").2;
    says(&ready(), &["as asked", RESET, "15 minutes"]);
    check(&sim, &FILES);
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_neon_took_on_and_did_not_do_is_asked_for_again() {
    let mut operator = settled(production_and_preview).await;
    let sim = Arc::clone(&operator.sim);
    sim.faults.restart();
    // the first effect is that the request is taken up
    sim.faults.plan(2, Fault::OperationUndone);
    let id = sim.at_neon(|project, _| project.branches[1].branch.id.clone());
    sim.annotate_database("pr-7", RESET, &format!("{id}@{}", sim.now()));
    operator.settle().await;
    check(&sim, &FILES);
    let reset = sim.at_neon(|project, _| project.branches[1].branch.last_reset_at);
    assert!(reset.is_some(), "{}", operator.story(20));
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_neon_gave_up_is_begun_again_until_it_is_done() {
    let mut operator = settled(production_and_preview).await;
    let sim = Arc::clone(&operator.sim);
    sim.faults.restart();
    sim.faults.plan(2, Fault::OperationGivenUp);
    let id = sim.at_neon(|project, _| project.branches[1].branch.id.clone());
    sim.annotate_database("pr-7", RESET, &format!("{id}@{}", sim.now()));
    operator.run_for(SignedDuration::from_secs(20)).await;
    check(&sim, &FILES);
}

#[tokio::test(start_paused = true)]
async fn a_reset_of_somebody_that_neon_gave_up_is_told_and_made_good_where_that_is_asked() {
    let mut operator = settled(production_and_preview).await;
    let sim = Arc::clone(&operator.sim);
    sim.at_neon(|project, _| project.branches[1].given_up = Some(BranchState::Resetting));
    operator.run_for(HOUR).await;
    let message = stalled(&sim.get_database("pr-7").unwrap(), Reason::OperationFailed);
    says(&message, &["preview/team/pr-7", RESET]);
    let id = sim.at_neon(|project, _| project.branches[1].branch.id.clone());
    sim.annotate_database("pr-7", RESET, &format!("{id}@{}", sim.now()));
    operator.settle().await;
    check(&sim, &FILES);
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_waits_is_dropped_where_it_is_withdrawn() {
    let mut operator = settled(production_and_preview).await;
    let sim = operator.sim.clone();
    let id = sim.at_neon(|project, _| project.branches[1].branch.id.clone());
    let locks = operator.locks();
    let at_work = locks.shared(id.as_str()).unwrap();
    let request = format!("{id}@{}", sim.now());
    sim.annotate_database("pr-7", RESET, &request);
    operator.run_for(SignedDuration::from_secs(20)).await;
    let handled = || sim.get_database("pr-7").unwrap().status.unwrap().handled;
    assert_eq!(handled().reset, Some(request));
    sim.edit_database("pr-7", |object| object.metadata.annotations = None);
    operator.run_for(SignedDuration::from_secs(20)).await;
    drop(at_work);
    operator.run_for(SignedDuration::from_mins(2)).await;
    let resets = {
        let state = sim.lock();
        let mutations = state.neon.calls.mutations.iter();
        mutations
            .filter(|what| what.starts_with("reset branch"))
            .count()
    };
    assert_eq!(resets, 0);
    assert!(events(&operator, "that was withdrawn") > 0);
}
