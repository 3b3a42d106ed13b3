//! What holds of decisions and statuses whatever is asked and whatever is known.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::action::Action;
use super::credentials::Found;
use super::desired::Desired;
use super::fixtures::{
    a_branch, a_database, a_parent, anothers, at, effective, effective_takeover, fresh, object,
    operation, recorded, settled,
};
use super::inherit::Heritage;
use super::mark::Mark;
use super::observe::{Existing, Key, Observed, ResetAsked, Standing};
use super::{deletion, max_age, plan, status};
use crate::api::{Credentials, DeletionPolicy, Environment, Reason};
use crate::neon::{Branch, BranchState, EndpointState};
use crate::reconcile::{Block, Class, Decision, Error, Fact, Verdict};
use crate::world::Operation;

/// A fact of any kind about one value.
fn fact<T: Clone + std::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Fact<T>> {
    prop_oneof![
        3 => value.prop_map(Fact::Known),
        1 => Just(Fact::Absent),
        1 => Just(Fact::Unknown),
    ]
}

fn environment() -> impl Strategy<Value = Environment> {
    select(vec![
        Environment::Production,
        Environment::Staging,
        Environment::Development,
        Environment::Preview,
    ])
}

/// Specs, right and wrong.
fn spec() -> impl Strategy<Value = Value> {
    let branch = select(vec![
        json!({}),
        json!({"protected": true}),
        json!({"protected": false}),
        json!({"lease": "2h"}),
        json!({"existing": {"default": true}}),
        json!({"existing": {"id": "br-it"}}),
        json!({"existing": {"id": "br-other"}}),
        json!({"parent": {"branchName": "main"}}),
    ]);
    let inside = select(vec![
        json!({}),
        json!({"databases": [], "roles": []}),
        json!({"roles": [{"name": "public", "access": "Admin"}]}),
        json!({"databases": [{"name": "app", "owner": "boss"}]}),
        json!({"connectionSecrets": [{"name": "it"}, {"name": "more"}]}),
        json!({"roles": [{"name": "web", "access": "ReadWrite", "rotation": {"every": "30m", "overlap": "1m"}}]}),
    ]);
    let policy = select(vec![None, Some("Retain"), Some("Delete")]);
    (branch, inside, policy, prop::bool::weighted(0.1)).prop_map(
        |(branch, inside, policy, suspend)| {
            let mut spec = inside;
            spec["branch"] = branch;
            spec["suspend"] = suspend.into();
            if let Some(policy) = policy {
                spec["deletionPolicy"] = policy.into();
            }
            spec
        },
    )
}

prop_compose! {
    fn desired()(
        environment in environment(),
        spec in spec(),
        deleting in prop::bool::weighted(0.3),
        has_finalizer in prop::bool::weighted(0.9),
        reconcile in prop::option::weighted(0.1, Just("now".to_owned())),
        extend in prop::option::weighted(0.1, select(vec!["tomorrow".to_owned(), at(200_000).to_string()])),
        max_age in prop::option::weighted(0.2, 0..400_000_i64),
        orphan in prop::bool::weighted(0.05),
        reset in prop::option::weighted(0.1, Just("br-it@x".to_owned())),
    ) -> Desired {
        let mut desired = Desired::of(&object(environment, spec), "default");
        desired.deleting = deleting;
        desired.has_finalizer = has_finalizer;
        desired.asked.reconcile = reconcile;
        desired.asked.extend = extend;
        desired.asked.reset = reset;
        if orphan {
            desired.heritage = Heritage::Missing("mother".to_owned());
        }
        if desired.max_age.is_some() {
            desired.max_age = max_age.map(SignedDuration::from_secs).or(desired.max_age);
        }
        desired
    }
}

/// What somebody has called a branch.
const RENAMED: &str = "renamed";

prop_compose! {
    fn a_branch_of_any_kind()(
        id in select(vec!["br-it", "br-other"]),
        renamed in prop::bool::weighted(0.1),
        state in select(vec![
            BranchState::Init, BranchState::Init, BranchState::Ready, BranchState::Ready, BranchState::Resetting,
            BranchState::Archived, BranchState::Other("new".into()),
        ]),
        pending in prop::bool::weighted(0.3),
        whose in select(vec!["it", "it", "it", "it", "it", "it", "it", "it", "nobody's", "another"]),
        protected in any::<bool>(),
        reset in prop::option::weighted(0.2, 0..4_000_i64),
        expires in prop::option::of(0..400_000_i64),
    ) -> Branch {
        let ours = Desired::of(&object(Environment::Preview, json!({})), "default").mark;
        let mark = Mark { name: whose.to_owned(), ..ours };
        Branch {
            current_state: state,
            pending_state: pending.then_some(BranchState::Ready),
            annotations: if whose == "nobody's" { [].into() } else { mark.annotations() },
            protected,
            last_reset_at: reset.map(at),
            expires_at: expires.map(at),
            ..a_branch(id, if renamed { RENAMED } else { "name" })
        }
    }
}

/// What access and locks allow.
#[derive(Clone, Debug)]
struct Surroundings {
    key: Key,
    namespace_going: bool,
    operations: Vec<Operation>,
    candidates: Vec<String>,
    rival: bool,
    served_instead: Option<Branch>,
    branch_free: bool,
    children: Vec<String>,
    held_back_for: Vec<String>,
    reset_time: Option<i64>,
}

prop_compose! {
    fn surroundings()(
        key in prop_oneof![
            12 => Just(Key::Good), 1 => Just(Key::Missing("m".into())), 1 => Just(Key::Waiting("w".into())),
            1 => Just(Key::Refused("r".into())), 1 => Just(Key::NoProject("p".into())),
            1 => Just(Key::Unseen("u".into())),
        ],
        namespace_going in any::<bool>(),
        ended in select(vec![vec![], vec![], vec![], vec![true], vec![true, false]]),
        candidates in 0..3_usize,
        rival in prop::bool::weighted(0.1),
        served_instead in prop::option::weighted(0.05, Just(a_branch("br-other", "restored"))),
        branch_free in prop::bool::weighted(0.8),
        children in 0..2_usize,
        held_back in prop::bool::weighted(0.2),
        reset_time in prop::option::weighted(0.3, Just(200_000_i64)),
    ) -> Surroundings {
        Surroundings {
            key, namespace_going, rival, served_instead, branch_free, reset_time,
            operations: ended.into_iter().map(|ended| operation("x", ended)).collect(),
            candidates: (0..candidates).map(|n| format!("c{n}")).collect(),
            held_back_for: held_back.then(|| "m".to_owned()).into_iter().collect(),
            children: (0..children).map(|n| format!("k{n}")).collect(),
        }
    }
}

/// How far the object is: nothing, resolved, or settled once; then facts of any kind are laid over it.
fn observed(desired: Desired) -> impl Strategy<Value = (Desired, Observed)> {
    let known = (
        0..4_u8,
        any::<bool>(),
        fact(a_branch_of_any_kind()),
        prop::option::weighted(0.2, a_branch_of_any_kind()),
        fact((
            a_branch_of_any_kind(),
            prop::option::of(Just("x".to_owned())),
        )),
        fact(any::<bool>()),
        fact(any::<bool>()),
        surroundings(),
        inside(),
    );
    known.prop_map(
        move |(stage, settle, branch, marked, existing, parent, being_made, around, inside)| {
            let mut base = stage_of(&desired, stage);
            if !settle || stage < 2 {
                base.branch = as_recorded(branch, &desired.branch_name);
                base.endpoint = match (being_made, base.endpoint) {
                    (Fact::Known(init), Fact::Known(mut endpoint)) => {
                        if init {
                            endpoint.current_state = EndpointState::Init;
                            endpoint.pending_state = Some(EndpointState::Active);
                        }
                        Fact::Known(endpoint)
                    }
                    (Fact::Absent, _) => Fact::Absent,
                    (Fact::Known(_) | Fact::Unknown, _) => Fact::Unknown,
                };
            }
            base.marked = marked.filter(|_| base.recorded.branch.is_none());
            base.existing = match existing {
                Fact::Known((branch, holder)) => Fact::Known(Existing { branch, holder }),
                Fact::Absent => Fact::Absent,
                Fact::Unknown => Fact::Unknown,
            };
            base.parent = match parent {
                Fact::Known(ready) => a_parent(ready),
                Fact::Absent => Fact::Absent,
                Fact::Unknown => Fact::Unknown,
            };
            base.key = around.key;
            base.namespace_going = around.namespace_going;
            base.operations = around.operations;
            base.candidates = around.candidates;
            base.older_rival = around.rival.then(|| "NeonDatabase a/b".to_owned());
            let has_endpoint = base.recorded.endpoint.is_some();
            base.served_instead = around.served_instead.filter(|_| has_endpoint);
            base.branch_free = around.branch_free;
            base.children = around.children;
            base.held_back_for = around.held_back_for;
            base.recorded.reset_time = around.reset_time.map(|time| Time(at(time)));
            inside.over(&mut base);
            (desired.clone(), base)
        },
    )
}

/// The recorded branch is looked up by its id, so nothing else is found. It has its name, unless somebody has renamed it.
fn as_recorded(branch: Fact<Branch>, name: &str) -> Fact<Branch> {
    match branch {
        Fact::Known(branch) => Fact::Known(Branch {
            id: "br-it".into(),
            name: if branch.name == RENAMED {
                branch.name
            } else {
                name.to_owned()
            },
            ..branch
        }),
        Fact::Absent => Fact::Absent,
        Fact::Unknown => Fact::Unknown,
    }
}

fn stage_of(desired: &Desired, stage: u8) -> Observed {
    let resolved = || {
        if desired.existing.is_some() {
            effective_takeover()
        } else {
            effective(desired)
        }
    };
    match (stage, desired.rest.is_ok()) {
        (0, _) => fresh(),
        (1, _) | (_, false) => {
            let mut observed = fresh();
            observed.recorded.effective = Some(resolved());
            observed
        }
        (_, true) => {
            let with_secret = Desired {
                rest: desired.rest.clone(),
                ..desired.clone()
            };
            let mut observed = settled(&with_secret);
            observed.recorded.effective = Some(resolved());
            recorded(&mut observed).taken_over = desired.existing.is_some();
            observed
        }
    }
}

/// Whose credentials a branch has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Own,
    Inherited,
    /// Its parent's, and nobody could use it yet.
    NeverUsed,
}

/// What is inside of a branch and out of it.
#[derive(Clone, Debug)]
struct Inside {
    digest: bool,
    whose: Whose,
    roles: Fact<Vec<&'static str>>,
    databases: Fact<Vec<&'static str>>,
    shared: Fact<Vec<String>>,
    secret: Fact<(bool, bool)>,
    current: bool,
}

prop_compose! {
    fn inside()(
        digest in any::<bool>(),
        whose in select(vec![Whose::Own, Whose::Inherited, Whose::NeverUsed]),
        roles in fact(select(vec![vec![], vec!["app_owner"], vec!["boss", "app_owner"]])),
        databases in fact(select(vec![vec![], vec!["app_owner"], vec!["boss"], vec!["web"]])),
        shared in fact(select(vec![vec![], vec!["app_owner".to_owned()]])),
        secret in fact(any::<(bool, bool)>()),
        current in prop::bool::weighted(0.7),
    ) -> Inside {
        Inside { digest, whose, roles, databases, shared, secret, current }
    }
}

impl Inside {
    fn over(self, observed: &mut Observed) {
        if !self.digest {
            observed.recorded.content_digest = None;
        }
        if let (Some(branch), Whose::Inherited | Whose::NeverUsed) =
            (&mut observed.recorded.branch, self.whose)
        {
            branch.credentials = Credentials::Inherited;
        }
        if let (Some(branch), Whose::NeverUsed) = (&mut observed.recorded.branch, self.whose) {
            branch.ready_time = None;
            observed.recorded.connection_secrets.clear();
        }
        observed.api_roles = match self.roles {
            Fact::Known(names) => Fact::Known(names.into_iter().map(str::to_owned).collect()),
            Fact::Absent => Fact::Absent,
            Fact::Unknown => Fact::Unknown,
        };
        observed.databases = match self.databases {
            Fact::Known(owners) => {
                Fact::Known(owners.into_iter().map(|o| a_database("app", o)).collect())
            }
            Fact::Absent => Fact::Absent,
            Fact::Unknown => Fact::Unknown,
        };
        observed.shared_passwords = self.shared;
        let found = match self.secret {
            Fact::Known((ours, owned)) => Fact::Known(Found {
                uid: "u".into(),
                ours,
                owned,
                form: None,
                intact: true,
                ..Found::default()
            }),
            Fact::Absent => Fact::Absent,
            Fact::Unknown => Fact::Unknown,
        };
        observed.secrets = [("it".to_owned(), found)].into();
        if !self.current {
            observed.current_secrets.clear();
        }
    }
}

fn situation() -> impl Strategy<Value = (Desired, Observed, Timestamp)> {
    let asked_for = prop::option::of(0..200_i64);
    (desired().prop_flat_map(observed), 0..400_000_i64, asked_for).prop_map(
        |((mut desired, mut observed), now, asked_for)| {
            if observed.recorded.branch.is_none() {
                let asked = asked_for.map(|seconds_ago| Time(at(now - seconds_ago)));
                observed.recorded.branch_request_time = asked;
            }
            if observed.recorded.reset_time.is_some() {
                // some of them too long ago
                let request = asked_for.map(|ago| format!("br-it@{}", at(now - ago * 6)));
                desired.asked.reset.clone_from(&request);
                observed.recorded.handled.reset = request;
            }
            if asked_for.is_some_and(|ago| ago % 8 == 0) {
                observed.reset_asked = Some(ResetAsked {
                    by: "m".into(),
                    version: "001_a.sql".into(),
                });
            }
            let goes = deletion::deletes(&desired, &observed.recorded);
            let found = observed.secrets.get("it").and_then(Fact::known);
            if found.is_some_and(|found| !found.ours) {
                let taken = ("it".to_owned(), "it is taken".to_owned());
                observed.taken = [taken].into();
            }
            if found.is_some_and(|found| found.ours && found.owned != goes)
                && !observed.current_secrets.contains("it")
            {
                observed.held_wrong.insert("it".to_owned());
            }
            (desired, observed, at(now))
        },
    )
}

fn decided(desired: &Desired, observed: &Observed, now: Timestamp) -> Option<Action> {
    match plan::decide(desired, observed, now) {
        Decision::Act(action) => Some(action),
        Decision::Wait(_)
        | Decision::Settled(_)
        | Decision::Suspended(_)
        | Decision::Blocked(_)
        | Decision::Gone => None,
    }
}

fn verdict(decision: Decision<Action>) -> Verdict {
    match decision {
        Decision::Act(_) => Verdict::Acting("x".into()),
        Decision::Wait(wait) => Verdict::Waiting(wait),
        Decision::Settled(after) => Verdict::Settled(after),
        Decision::Suspended(after) => Verdict::Suspended(after),
        Decision::Blocked(block) => Verdict::Blocked(block),
        Decision::Gone => Verdict::Gone,
    }
}

/// Whether the fact that an action rests on is known. Everything that creates or destroys on Neon is listed.
fn rests_on_facts(action: &Action, observed: &Observed) -> bool {
    let branch = observed.branch.known().is_some();
    let listed = observed.databases.known().is_some() && observed.api_roles.known().is_some();
    match action {
        Action::CreateBranch(id) => observed.parent.known().is_some_and(|parent| {
            parent.standing == Standing::Ready && parent.branch.as_ref() == Some(id)
        }),
        Action::AnnounceBranch => observed
            .parent
            .known()
            .is_some_and(|parent| parent.standing == Standing::Ready),
        Action::ResetBranch(parent) => observed
            .branch
            .known()
            .is_some_and(|branch| branch.parent_id.as_ref() == Some(parent)),
        Action::ForgetBranch => observed.branch.is_absent(),
        Action::DiscardBranch(id) => observed
            .branch
            .known()
            .is_some_and(|branch| branch.id == *id && branch.was_given_up()),
        Action::DeleteBranch(id) => {
            let seen = match observed.recorded.branch {
                Some(_) => observed.branch.known(),
                None => observed.marked.as_ref(),
            };
            observed.key == Key::Good && seen.is_some_and(|branch| branch.id == *id)
        }
        Action::CreateEndpoint => branch && observed.endpoint.is_absent(),
        Action::DeleteReplica(id) => {
            let ours = |name: &str| name.starts_with("sepulki-");
            let mut listed = observed.replicas.iter();
            branch && listed.any(|one| one.id == *id && one.name.as_deref().is_some_and(ours))
        }
        Action::CreateRole(_) | Action::CreateDatabase { .. } | Action::RecordDatabase { .. } => {
            branch && listed
        }
        Action::ResetPassword(role) => {
            branch
                && observed
                    .shared_passwords
                    .known()
                    .is_some_and(|s| s.contains(role))
        }
        Action::RetireLogins => branch && !matches!(observed.shared_passwords, Fact::Unknown),
        Action::ResizeCompute
        | Action::CreateReplica(_)
        | Action::RecordReplica(_)
        | Action::ResizeReplica(_)
        | Action::PublishCredentials(_)
        | Action::RecordLogin(_)
        | Action::ReplaceLogin(_)
        | Action::DropLogin { .. }
        | Action::PrepareContents => branch && observed.endpoint.known().is_some(),
        Action::RecordIncarnation
        | Action::RenewLease(_)
        | Action::EndLease
        | Action::RenameBranch(_)
        | Action::Protect(_) => branch,
        Action::AddFinalizer
        | Action::LookAgain
        | Action::Extend(_)
        | Action::TakeUpReset(_)
        | Action::TakeUpResetFor(_)
        | Action::DropReset
        | Action::DropRequest
        | Action::NoteAbandon(_)
        | Action::ForgetOperations
        | Action::Resolve(_)
        | Action::ClaimBranch(_)
        | Action::WithdrawSecrets(_)
        | Action::KeepSecrets(_)
        | Action::OwnSecrets(_)
        | Action::LeaveBehind(_)
        | Action::ReleaseFinalizer => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decisions_are_total_and_always_the_same((desired, observed, now) in situation()) {
        let once = plan::decide(&desired, &observed, now);
        prop_assert_eq!(once, plan::decide(&desired, &observed, now));
    }

    #[test]
    fn nothing_is_created_or_destroyed_on_what_is_unknown((desired, observed, now) in situation()) {
        if let Some(action) = decided(&desired, &observed, now) {
            prop_assert!(rests_on_facts(&action, &observed), "{:?}", action);
        }
    }

    #[test]
    fn without_the_finalizer_it_is_added_or_nothing_is_done((mut desired, observed, now) in situation()) {
        desired.has_finalizer = false;
        let action = decided(&desired, &observed, now);
        prop_assert!(matches!(action, None | Some(Action::AddFinalizer)), "{:?}", action);
    }

    #[test]
    fn branches_are_deleted_only_where_that_was_asked((desired, observed, now) in situation()) {
        if let Some(Action::DeleteBranch(id)) = decided(&desired, &observed, now) {
            let end = max_age::end(&desired, &observed);
            prop_assert!(desired.deleting || end.is_some_and(|end| end <= now));
            let recorded = observed.recorded.effective.as_ref().map(|e| e.deletion_policy);
            prop_assert_eq!(desired.deletion_policy(recorded), DeletionPolicy::Delete);
            prop_assert!(observed.children.is_empty() && observed.branch_free);
            let recorded = observed.recorded.branch.as_ref().and(observed.branch.known());
            let branch = recorded.or(observed.marked.as_ref()).unwrap();
            let mark = Mark::of(&branch.annotations);
            prop_assert!(mark.is_none_or(|mark| mark == desired.mark));
            if observed.recorded.branch.as_ref().is_some_and(|b| b.taken_over) {
                let named = desired.existing.as_ref().and_then(|e| e.id.as_deref());
                prop_assert_eq!(named, Some(id.as_str()));
            }
        }
    }

    #[test]
    fn a_branch_that_bears_another_ones_mark_is_left_alone((mut desired, mut observed, now) in situation()) {
        desired.deleting = false;
        if let Fact::Known(branch) = &mut observed.branch {
            branch.annotations = anothers(&desired).annotations();
        }
        let there = observed.recorded.branch.is_some() && observed.branch.known().is_some();
        if let Some(action) = decided(&desired, &observed, now).filter(|_| there) {
            // what may be done where nothing is known does nothing to a branch
            prop_assert!(rests_on_facts(&action, &fresh()), "{:?}", action);
        }
    }

    #[test]
    fn no_branch_is_made_beside_one_that_an_earlier_object_left((mut desired, mut observed, now) in situation()) {
        desired.deleting = false;
        observed.left_over = Some(a_branch("br-left", "staging/team/it"));
        let action = decided(&desired, &observed, now);
        let makes = matches!(action, Some(Action::AnnounceBranch | Action::CreateBranch(_)));
        prop_assert!(!makes, "{:?}", action);
    }

    #[test]
    fn only_what_nobody_can_have_used_is_discarded((desired, observed, now) in situation()) {
        if let Some(Action::DiscardBranch(_)) = decided(&desired, &observed, now) {
            let recorded = observed.recorded.branch.as_ref().unwrap();
            prop_assert!(!recorded.taken_over && recorded.ready_time.is_none());
            prop_assert_eq!(recorded.credentials, Credentials::Inherited);
            let branch = observed.branch.known().unwrap();
            prop_assert_eq!(Mark::of(&branch.annotations), Some(desired.mark.clone()));
            prop_assert!(!branch.protected && observed.children.is_empty() && observed.branch_free);
            prop_assert!(!desired.suspend && observed.older_rival.is_none());
        }
    }

    #[test]
    fn while_the_compute_serves_another_branch_nothing_is_done_to_it_or_published((mut desired, mut observed, now) in situation()) {
        desired.deleting = false;
        if observed.recorded.branch.is_some() && observed.recorded.endpoint.is_some() {
            observed.served_instead = Some(a_branch("br-other", "restored"));
            let action = decided(&desired, &observed, now);
            let allowed = matches!(
                action,
                None | Some(
                    Action::AddFinalizer
                        | Action::LookAgain
                        | Action::NoteAbandon(_)
                        | Action::Extend(_)
                        | Action::ForgetOperations
                        | Action::Resolve(_)
                        | Action::RenewLease(_)
                        | Action::EndLease
                )
            ) || max_age::end(&desired, &observed).is_some_and(|end| end <= now);
            prop_assert!(allowed, "{:?}", action);
        }
    }

    #[test]
    fn a_suspended_object_changes_nothing_but_its_lease_and_its_record((mut desired, observed, now) in situation()) {
        desired.suspend = true;
        desired.deleting = false;
        let action = decided(&desired, &observed, now);
        let allowed = matches!(
            action,
            None | Some(
                Action::RenewLease(_)
                    | Action::EndLease
                    | Action::AddFinalizer
                    | Action::LookAgain
                    | Action::NoteAbandon(_)
                    | Action::Extend(_)
                    | Action::ForgetOperations
                    | Action::Resolve(_)
                    | Action::RecordIncarnation
            )
        );
        prop_assert!(allowed, "{:?}", action);
    }

    #[test]
    fn what_neon_has_refused_of_the_upkeep_is_not_asked_for_again((desired, mut observed, now) in situation()) {
        let refused = Some(Block { reason: Reason::NeonRejected, message: "no".into() });
        observed.lease_refused = refused.clone();
        observed.name_refused = refused.clone();
        observed.protection_refused = refused;
        let action = decided(&desired, &observed, now);
        let asked = matches!(
            action,
            Some(Action::RenewLease(_) | Action::RenameBranch(_) | Action::Protect(true))
        );
        prop_assert!(!asked, "{:?}", action);
    }

    #[test]
    fn what_is_settled_stays_settled((desired, mut observed, now) in situation()) {
        let decision = plan::decide(&desired, &observed, now);
        if matches!(decision, Decision::Settled(_)) {
            let verdict = verdict(decision.clone());
            let status = status::project(&observed.recorded, &desired, Some(&observed), &verdict, now);
            observed.recorded = status;
            prop_assert_eq!(plan::decide(&desired, &observed, now), decision);
        }
    }

    #[test]
    fn statuses_follow_kstatus_and_do_not_churn(
        (desired, observed, now) in situation(),
        failed in prop::option::of(select(vec![Class::Transient, Class::Denied, Class::Bug])),
        seen in any::<bool>(),
    ) {
        let verdict = match failed {
            Some(class) => Verdict::Failed(Error::new(class, Reason::NeonUnavailable, "x")),
            None => verdict(plan::decide(&desired, &observed, now)),
        };
        let seen = seen.then_some(&observed);
        let once = status::project(&observed.recorded, &desired, seen, &verdict, now);
        let mut types: Vec<&str> = once.conditions.iter().map(|c| c.type_.as_str()).collect();
        types.sort_unstable();
        types.dedup();
        prop_assert_eq!(types.len(), once.conditions.len());
        let holds = |type_: &str| once.conditions.iter().any(|c| c.type_ == type_ && c.status == "True");
        prop_assert!(!(holds("Reconciling") && holds("Stalled")));
        prop_assert!(!(holds("Ready") && (holds("Reconciling") || holds("Stalled"))));
        prop_assert_eq!(once.observed_generation, desired.generation);
        let later = now + SignedDuration::from_hours(1);
        prop_assert_eq!(&status::project(&once, &desired, seen, &verdict, later), &once);
    }
}

#[test]
fn the_situations_reach_every_decision() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut reached = std::collections::BTreeSet::new();
    for _ in 0..30_000 {
        let (desired, observed, now) = situation().new_tree(&mut runner).unwrap().current();
        let decision = plan::decide(&desired, &observed, now);
        reached.insert(match &decision {
            Decision::Act(action) => crate::reconcile::Action::name(action).to_owned(),
            Decision::Wait(wait) => wait.reason.to_string(),
            Decision::Blocked(block) => block.reason.to_string(),
            Decision::Settled(_) => "Settled".to_owned(),
            Decision::Suspended(_) => "Suspended".to_owned(),
            Decision::Gone => "Gone".to_owned(),
        });
    }
    let missing: Vec<&str> = [
        "AddFinalizer",
        "LookAgain",
        "Extend",
        "Expired",
        "BranchReplaced",
        "BranchClaimed",
        "TakeUpReset",
        "TakeUpResetFor",
        "DropReset",
        "ResetBranch",
        "ForgetOperations",
        "Resolve",
        "ClaimBranch",
        "AnnounceBranch",
        "CreateBranch",
        "DropRequest",
        "DiscardBranch",
        "OperationFailed",
        "ForgetBranch",
        "RecordIncarnation",
        "RenewLease",
        "EndLease",
        "RenameBranch",
        "Protect",
        "CreateEndpoint",
        "CreateRole",
        "CreateDatabase",
        "ResetPassword",
        "RetireLogins",
        "PrepareContents",
        "PublishCredentials",
        "ReplaceLogin",
        "KeepSecrets",
        "OwnSecrets",
        "WithdrawSecrets",
        "DeleteBranch",
        "LeaveBehind",
        "ReleaseFinalizer",
        "Settled",
        "Suspended",
        "Gone",
    ]
    .into_iter()
    .filter(|name| !reached.contains(*name))
    .collect();
    assert!(missing.is_empty(), "{missing:?} of {reached:?}");
}
