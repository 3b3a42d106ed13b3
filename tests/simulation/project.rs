//! NeonProjects: who may use them, what they set, and what becomes of those who use them.

use jiff::SignedDuration;
use sepulki::api::{KeyKind, NeonDatabase, NeonProject, Reason};
use sepulki::reconcile::Conditions;
use serde_json::{Value, json};

use crate::database::{reconciling, says, stalled};
use crate::invariants::check;
use crate::scene::{FILES, settled, simple, with};
use crate::world::operator::Operator;
use crate::world::{API_KEY, NAMESPACE, Sim};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// A namespace of previews, which holds no key.
pub const PREVIEWS: &str = "pr-7";

/// Everything for the team, and previews of production for who is labelled so.
pub fn rules(most: i32) -> Value {
    json!([
        {"namespaces": {"matchLabels": {"team": "robots"}}},
        {"namespaces": {"matchLabels": {"previews": "yes"}}, "environments": ["preview"], "parents": ["main"],
         "maxBranches": most},
    ])
}

pub fn label(sim: &Sim) {
    sim.namespace(NAMESPACE, &[("team", "robots")]);
    sim.namespace(PREVIEWS, &[("previews", "yes")]);
}

/// One that uses the NeonProject `sea`.
pub fn of_the_sea(more: Value) -> Value {
    with(with(simple(), json!({"projectRef": {"name": "sea"}})), more)
}

/// A NeonProject, production and a preview of it in a namespace without a key.
pub fn sea_with_a_preview(sim: &Sim) {
    label(sim);
    sim.files(&FILES);
    let spec = json!({
        "baseBranch": "main",
        "access": rules(2),
        "settings": {"historyRetention": "7d", "quota": {"activeTime": "500h"}},
    });
    sim.project("sea", spec);
    sim.database_in(NAMESPACE, "production", "production", of_the_sea(json!({})));
    sim.database_in(PREVIEWS, "preview", "preview", of_the_sea(json!({})));
    sim.migration("production", json!({}));
}

pub fn begin(scene: impl FnOnce(&Sim)) -> Operator {
    let sim = Sim::new();
    scene(&sim);
    Operator::new(&sim)
}

pub fn project(operator: &Operator, name: &str) -> NeonProject {
    let found = operator.sim.get_project(name);
    found.unwrap_or_else(|| panic!("no NeonProject {name}"))
}

pub fn preview(operator: &Operator, name: &str) -> NeonDatabase {
    let found = operator.sim.get_database_in(PREVIEWS, name);
    found.unwrap_or_else(|| panic!("no NeonDatabase {name}"))
}

#[tokio::test(start_paused = true)]
async fn a_preview_without_a_key_comes_up_beside_production() {
    let operator = settled(sea_with_a_preview).await;
    check(&operator.sim, &FILES);
    let sea = project(&operator, "sea").status.unwrap();
    assert_eq!(sea.plan.as_deref(), Some("launch"));
    assert_eq!(sea.limits.unwrap().branches, Some(5000));
    let shown = json!({"historyRetention": "7d", "quota": {"activeTime": "500h"}});
    assert_eq!(json!(sea.settings), shown);
    let preview = preview(&operator, "preview").status.unwrap();
    assert_eq!(preview.project_id.as_deref(), Some("quiet-sea-1"));
    let parent = preview.effective.unwrap().parent.unwrap();
    assert_eq!(parent.branch_name.as_deref(), Some("main"));
    // nobody put a key there
    let state = operator.sim.lock();
    let secrets = state.kubernetes.secrets.keys().filter(|k| k.0 == PREVIEWS);
    assert_eq!(
        secrets.map(|k| k.1.as_str()).collect::<Vec<_>>(),
        ["preview"]
    );
}

#[tokio::test(start_paused = true)]
async fn at_rest_it_costs_the_shared_listing_and_one_call_an_hour() {
    let mut operator = settled(sea_with_a_preview).await;
    operator.run_for(MINUTE * 2).await;
    let before = operator.sim.lock().neon.calls.clone();
    let writes = operator.sim.lock().kubernetes.writes.len();
    operator.run_for(MINUTE * 180).await;
    let state = operator.sim.lock();
    assert_eq!(state.neon.calls.mutations, before.mutations);
    assert_eq!(state.neon.calls.looks - before.looks, 3);
    let listings = state.neon.calls.listings - before.listings;
    assert!((180..=362).contains(&listings), "{listings} listings");
    assert_eq!(state.kubernetes.writes[writes..], [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_wrong_or_missing_is_told_and_a_good_one_is_taken() {
    let mut operator = begin(|sim| {
        sea_with_a_preview(sim);
        sim.edit_secret("neon-api-key", "apiKey", "napi-wrong");
    });
    operator.run_for(MINUTE).await;
    let message = stalled(&project(&operator, "sea"), Reason::KeyRefused);
    says(
        &message,
        &["neon-api-key", NAMESPACE, "authorization required"],
    );
    let message = reconciling(&preview(&operator, "preview"), Reason::ProjectNotReady);
    says(&message, &["NeonProject sea is not ready", "KeyRefused"]);
    let key = (NAMESPACE.to_owned(), "neon-api-key".to_owned());
    let secret = operator.sim.lock().kubernetes.secrets.remove(&key).unwrap();
    operator.run_for(MINUTE * 3).await;
    let message = reconciling(&project(&operator, "sea"), Reason::KeyNotFound);
    says(&message, &["neon-api-key", "does not exist"]);
    operator.sim.lock().kubernetes.secrets.insert(key, secret);
    operator.sim.edit_secret("neon-api-key", "apiKey", API_KEY);
    operator.run_for(MINUTE * 3).await;
    operator.settle().await;
    check(&operator.sim, &FILES);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_project_is_told_and_nobody_uses_it() {
    let mut operator = begin(|sim| {
        label(sim);
        sim.project(
            "lake",
            json!({"projectId": "loud-lake-2", "access": rules(1)}),
        );
        let spec = with(simple(), json!({"projectRef": {"name": "lake"}}));
        sim.database_in(PREVIEWS, "preview", "preview", spec);
    });
    operator.run_for(MINUTE).await;
    let message = stalled(&project(&operator, "lake"), Reason::ProjectNotFound);
    says(&message, &["loud-lake-2 does not exist"]);
    let message = reconciling(&preview(&operator, "preview"), Reason::ProjectNotReady);
    says(
        &message,
        &["NeonProject lake is not ready", "ProjectNotFound"],
    );
}

#[tokio::test(start_paused = true)]
async fn a_neonproject_that_is_not_there_yet_is_waited_for() {
    let mut operator = begin(|sim| {
        label(sim);
        sim.database_in(PREVIEWS, "preview", "preview", of_the_sea(json!({})));
    });
    operator.run_for(MINUTE).await;
    let message = reconciling(&preview(&operator, "preview"), Reason::ProjectNotReady);
    says(&message, &["no NeonProject sea"]);
    let spec = json!({"baseBranch": "main", "access": rules(1)});
    operator.sim.project("sea", spec);
    operator.settle().await;
    assert!(preview(&operator, "preview").is_settled());
}

#[tokio::test(start_paused = true)]
async fn who_is_not_admitted_is_told_and_let_in_when_a_rule_says_so() {
    let mut operator = begin(|sim| {
        sea_with_a_preview(sim);
        sim.namespace("strangers", &[]);
        sim.database_in("strangers", "preview", "preview", of_the_sea(json!({})));
        sim.database_in(
            PREVIEWS,
            "staging",
            "staging",
            of_the_sea(json!({"branch": {"parent": {"branchName": "main"}}})),
        );
        let existing = json!({"branch": {"existing": {"default": true}}});
        sim.database_in(PREVIEWS, "thief", "preview", of_the_sea(existing));
        let other =
            json!({"branch": {"parent": {"branchName": "preview/pr-7/preview"}, "lease": "never"}});
        sim.database_in(PREVIEWS, "grandchild", "preview", of_the_sea(other));
    });
    operator.run_for(MINUTE).await;
    let refused = |namespace: &str, name: &str| {
        let object = operator.sim.get_database_in(namespace, name).unwrap();
        stalled(&object, Reason::AccessDenied)
    };
    let why = refused("strangers", "preview");
    says(
        &why,
        &[
            "NeonProject sea does not admit this preview",
            "team=robots",
            "previews=yes",
        ],
    );
    says(
        &refused(PREVIEWS, "staging"),
        &["this staging", "rule 2 admits preview only"],
    );
    says(
        &refused(PREVIEWS, "thief"),
        &["takes a branch over", "forks of main only"],
    );
    says(
        &refused(PREVIEWS, "grandchild"),
        &["forks preview/pr-7/preview", "forks of main only"],
    );
    assert_eq!(
        operator.sim.branch_names(),
        ["main", "preview/pr-7/preview"]
    );
    // labelled, it is let in
    operator.sim.namespace("strangers", &[("previews", "yes")]);
    operator.run_for(MINUTE * 2).await;
    operator.settle().await;
    let stranger = operator.sim.get_database_in("strangers", "preview");
    assert!(stranger.unwrap().is_settled());
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_is_taken_away_changes_nothing_that_exists() {
    let mut operator = settled(sea_with_a_preview).await;
    let before = operator.sim.branch_names();
    let mutations = operator.sim.lock().neon.calls.mutations.len();
    operator
        .sim
        .edit_project("sea", |sea| sea.spec.access.clear());
    operator
        .sim
        .database_in(PREVIEWS, "late", "preview", of_the_sea(json!({})));
    operator.settle().await;
    operator.run_for(MINUTE * 30).await;
    assert_eq!(operator.sim.branch_names(), before);
    assert_eq!(operator.sim.lock().neon.calls.mutations.len(), mutations);
    assert!(preview(&operator, "preview").is_settled());
    let message = stalled(&preview(&operator, "late"), Reason::AccessDenied);
    says(&message, &["has no access rules"]);
    // what exists can still be changed and deleted
    let now = operator.sim.now();
    let key = (PREVIEWS.to_owned(), "preview".to_owned());
    operator.sim.lock().kubernetes.delete_database(&key, now);
    operator.settle().await;
    assert_eq!(operator.sim.branch_names(), ["main"]);
}

#[tokio::test(start_paused = true)]
async fn no_more_branches_than_a_rule_allows_and_the_first_come_first() {
    for side_by_side in [false, true] {
        let mut operator = begin(|sim| {
            label(sim);
            sim.namespace("pr-8", &[("previews", "yes")]);
            sim.project("sea", json!({"baseBranch": "main", "access": rules(2)}));
            for (namespace, name) in [
                (PREVIEWS, "a"),
                ("pr-8", "b"),
                (PREVIEWS, "c"),
                ("pr-8", "d"),
            ] {
                sim.database_in(namespace, name, "preview", of_the_sea(json!({})));
                sim.clock.advance(SignedDuration::from_secs(2));
            }
        });
        operator.side_by_side = side_by_side;
        operator.run_for(MINUTE * 3).await;
        let names = operator.sim.branch_names();
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(preview(&operator, "a").is_settled());
        assert!(
            operator
                .sim
                .get_database_in("pr-8", "b")
                .unwrap()
                .is_settled()
        );
        let message = reconciling(&preview(&operator, "c"), Reason::NoRoom);
        says(
            &message,
            &["rule 2", "NeonProject sea", "allows 2 branches"],
        );
        let last = operator.sim.get_database_in("pr-8", "d").unwrap();
        says(
            &reconciling(&last, Reason::NoRoom),
            &["an older object comes first"],
        );
        // one goes: the next in line comes, and no other
        let now = operator.sim.now();
        let key = ("pr-8".to_owned(), "b".to_owned());
        operator.sim.lock().kubernetes.delete_database(&key, now);
        operator.run_for(MINUTE * 3).await;
        assert!(preview(&operator, "c").is_settled());
        let last = operator.sim.get_database_in("pr-8", "d").unwrap();
        reconciling(&last, Reason::NoRoom);
        assert_eq!(operator.sim.branch_names().len(), 3);
        // more are allowed
        operator
            .sim
            .edit_project("sea", |sea| sea.spec.access[1].max_branches = None);
        operator.settle().await;
        assert_eq!(operator.sim.branch_names().len(), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_project_serves_its_objects_though_nobody_tells_whose_its_key_is() {
    let sim = Sim::new();
    sim.lock().neon.out_of_order = Some("identity");
    sea_with_a_preview(&sim);
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    check(&sim, &FILES);
    assert_eq!(project(&operator, "sea").status.unwrap().key_kind, None);
    sim.lock().neon.out_of_order = None;
    operator.run_for(MINUTE * 15).await;
    let told = project(&operator, "sea").status.unwrap().key_kind;
    assert_eq!(told, Some(KeyKind::Personal));
}

#[tokio::test(start_paused = true)]
async fn a_neonproject_stays_until_nobody_needs_its_key() {
    let mut operator = settled(sea_with_a_preview).await;
    let now = operator.sim.now();
    operator.sim.lock().kubernetes.delete_project("sea", now);
    operator.run_for(MINUTE).await;
    let message = reconciling(&project(&operator, "sea"), Reason::InUse);
    says(&message, &["pr-7/preview", "team/production"]);
    assert!(preview(&operator, "preview").is_settled());
    let now = operator.sim.now();
    {
        let mut state = operator.sim.lock();
        state.kubernetes.migrations.clear();
        for (namespace, name) in [(PREVIEWS, "preview"), (NAMESPACE, "production")] {
            let key = (namespace.to_owned(), name.to_owned());
            state.kubernetes.delete_database(&key, now);
        }
    }
    operator.settle().await;
    assert_eq!(operator.sim.get_project("sea"), None);
    assert_eq!(operator.sim.branch_names(), ["main"]);
}

#[tokio::test(start_paused = true)]
async fn who_was_never_admitted_keeps_no_neonproject_from_going() {
    let mut operator = begin(|sim| {
        label(sim);
        sim.files(&FILES);
        sim.project("sea", json!({"baseBranch": "main", "access": rules(2)}));
        sim.namespace("strangers", &[]);
        sim.database_in("strangers", "preview", "preview", of_the_sea(json!({})));
    });
    operator.run_for(MINUTE).await;
    let stranger = |operator: &Operator| operator.sim.get_database_in("strangers", "preview");
    stalled(&stranger(&operator).unwrap(), Reason::AccessDenied);
    let now = operator.sim.now();
    operator.sim.lock().kubernetes.delete_project("sea", now);
    operator.run_for(MINUTE).await;
    assert_eq!(operator.sim.get_project("sea"), None);
    let now = operator.sim.now();
    let key = ("strangers".to_owned(), "preview".to_owned());
    operator.sim.lock().kubernetes.delete_database(&key, now);
    operator.settle().await;
    assert_eq!(stranger(&operator), None);
    assert_eq!(operator.sim.branch_names(), ["main"]);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_of_previews_goes_with_its_branches() {
    let mut operator = settled(sea_with_a_preview).await;
    let now = operator.sim.now();
    operator
        .sim
        .lock()
        .kubernetes
        .delete_namespace(PREVIEWS, now);
    operator.settle().await;
    assert_eq!(operator.sim.branch_names(), ["main"]);
    assert_eq!(operator.left_behind(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_neonproject_that_leads_elsewhere_moves_nobody() {
    let mut operator = settled(sea_with_a_preview).await;
    let before = operator.sim.branch_names();
    {
        // made anew under its name, for another project that the key sees, too
        let now = operator.sim.now();
        let mut state = operator.sim.lock();
        let lake = sepulki::neon::ProjectId::from("loud-lake-2");
        state
            .neon
            .keys
            .get_mut(API_KEY)
            .unwrap()
            .insert(lake.clone());
        let made = crate::world::neon::Project::new(1_000, now);
        state.neon.projects.insert(lake, made);
        state.kubernetes.projects.clear();
    }
    operator.sim.project(
        "sea",
        json!({"projectId": "loud-lake-2", "access": rules(9)}),
    );
    operator.run_for(MINUTE * 5).await;
    let message = stalled(&preview(&operator, "preview"), Reason::ProjectNotFound);
    says(
        &message,
        &[
            "NeonProject sea now leads to the project loud-lake-2",
            "quiet-sea-1",
        ],
    );
    assert_eq!(operator.sim.branch_names(), before);
}

#[tokio::test(start_paused = true)]
async fn nobody_sees_or_changes_anything_through_anothers_key() {
    let mut operator = begin(|sim| {
        sim.namespace("blue", &[]);
        sim.namespace("red", &[]);
        sim.namespace("grey", &[]);
        let mut state = sim.lock();
        let project = sepulki::neon::ProjectId::from("red-rock-3");
        let made = crate::world::neon::Project::new(1_000, sim.now());
        state.neon.projects.insert(project.clone(), made);
        // two keys of one account, each for a project of its own, and one that is none
        state.neon.keys.insert(
            "napi-blue-key".to_owned(),
            [crate::world::PROJECT.into()].into(),
        );
        state
            .neon
            .keys
            .insert("napi-red-key".to_owned(), [project].into());
        for (namespace, key) in [
            ("blue", "napi-blue-key"),
            ("red", "napi-red-key"),
            ("grey", "napi-no-key"),
        ] {
            state
                .kubernetes
                .foreign_secret(namespace, "neon-api-key", &[("apiKey", key)]);
        }
        drop(state);
        let of = |project: &str| with(simple(), json!({"projectId": project}));
        sim.database_in("blue", "own", "production", of(crate::world::PROJECT));
        sim.database_in("red", "own", "production", of("red-rock-3"));
        for namespace in ["red", "grey"] {
            sim.database_in(namespace, "stray", "production", of(crate::world::PROJECT));
        }
    });
    operator.run_for(MINUTE * 5).await;
    let object =
        |namespace: &str, name: &str| operator.sim.get_database_in(namespace, name).unwrap();
    assert!(object("blue", "own").is_settled());
    assert!(object("red", "own").is_settled());
    let told = stalled(&object("red", "stray"), Reason::ProjectNotFound);
    says(&told, &[crate::world::PROJECT, "may not see it"]);
    let told = stalled(&object("grey", "stray"), Reason::KeyRefused);
    says(&told, &["grey", "authorization required"]);
    // nothing of what others hold is told
    for (namespace, name) in [("red", "stray"), ("grey", "stray")] {
        let status = json!(object(namespace, name).status).to_string();
        assert!(
            !status.contains("br-") && !status.contains("blue"),
            "{status}"
        );
    }
    let state = operator.sim.lock();
    for key in ["napi-blue-key", "napi-red-key", "napi-no-key"] {
        assert!(!state.said.contains(key));
    }
}
