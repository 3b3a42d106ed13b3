//! `docs/bad-input.md` against the operator: every row is brought about, and has to say what the document says.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use sepulki::api::{NeonDatabase, RESET};
use sepulki::reconcile::Conditions;
use serde_json::{Value, json};

use crate::database::{condition, events};
use crate::project::{of_the_sea, sea_with_a_preview};
use crate::scene::{child_of, settled, simple, with};
use crate::world::neon::UNKNOWN_SETTING;
use crate::world::operator::Operator;
use crate::world::{NAMESPACE, Sim};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

const DOCUMENT: &str = include_str!("../../docs/bad-input.md");

/// A row of the document: what was written, and where, why and in which words the operator answers.
type Row = (String, [String; 3]);

/// The first four cells of every row, the head left out; what is done about it is for people.
fn rows() -> Vec<Row> {
    // what is behind the first table other tests hold
    let table = DOCUMENT.lines().take_while(|line| !line.starts_with("## "));
    let lines = table.filter(|line| line.starts_with("| "));
    let cells = |line: &str| {
        let line = line.trim_start_matches("| ").trim_end_matches(" |");
        let cells: Vec<String> = line.split(" | ").map(str::to_owned).collect();
        let [what, place, reason, message, remedy] = cells.as_slice() else {
            panic!("{} cells in {line}", cells.len());
        };
        assert!(!remedy.is_empty(), "no remedy for {what}");
        let plain = |cell: &String| cell.trim_matches('`').to_owned();
        (what.clone(), [place, reason, message].map(plain))
    };
    lines.skip(1).map(cells).collect()
}

/// What the operator says of an object: the condition that tells how it stands.
fn said(object: &impl Conditions) -> [String; 3] {
    let standing = ["Stalled", "Reconciling", "Ready"]
        .into_iter()
        .find(|type_| condition(object, type_).0);
    let standing = standing.expect("a condition that is true");
    let (_, reason, message) = condition(object, standing);
    [standing.to_owned(), reason, message]
}

async fn begin(scene: impl FnOnce(&Sim)) -> Operator {
    let sim = Sim::new();
    scene(&sim);
    let mut operator = Operator::new(&sim);
    operator.run_for(MINUTE).await;
    operator
}

/// What is said of the object `it`.
async fn of_it(scene: impl FnOnce(&Sim)) -> [String; 3] {
    said(&it(&begin(scene).await))
}

fn it(operator: &Operator) -> NeonDatabase {
    operator.sim.get_database("it").unwrap()
}

/// What is said of a preview with this in its spec, beside production.
async fn of_a_preview(spec: Value) -> [String; 3] {
    of_it(|sim| {
        sim.database("production", "production", simple());
        let spec = with(with(simple(), child_of("production")), spec);
        sim.database("it", "preview", spec);
    })
    .await
}

/// Production and a preview of it by the name of `it`, settled.
async fn a_settled_preview() -> Operator {
    settled(|sim: &Sim| {
        sim.database("production", "production", simple());
        sim.database("it", "preview", with(simple(), child_of("production")));
    })
    .await
}

async fn a_parent_that_is_being_deleted() -> [String; 3] {
    let mut operator = begin(|sim| {
        let lasting = json!({"branch": {"parent": {"branchName": "main"}, "lease": "never"}});
        sim.database("mother", "preview", with(simple(), lasting));
    })
    .await;
    let sim = operator.sim.clone();
    sim.database("sister", "preview", with(simple(), child_of("mother")));
    operator.settle().await;
    // it waits for its child
    sim.delete_database("mother");
    operator.run_for(MINUTE).await;
    sim.database("it", "preview", with(simple(), child_of("mother")));
    operator.run_for(MINUTE).await;
    said(&it(&operator))
}

async fn a_parent_with_a_lease() -> [String; 3] {
    of_it(|sim| {
        let of_main = json!({"branch": {"parent": {"branchName": "main"}}});
        sim.database("mother", "preview", with(simple(), of_main));
        sim.database("it", "preview", with(simple(), child_of("mother")));
    })
    .await
}

fn compute_with(setting: &str) -> Value {
    json!({"compute": {"settings": {setting: "1"}}})
}

async fn a_setting_for_a_running_server() -> [String; 3] {
    let mut operator = a_settled_preview().await;
    operator.sim.edit_database("it", |it| {
        let compute = compute_with(UNKNOWN_SETTING)["compute"].clone();
        it.spec.compute = serde_json::from_value(compute).unwrap();
    });
    operator.run_for(MINUTE).await;
    said(&it(&operator))
}

async fn two_that_could_be_the_parent() -> [String; 3] {
    of_it(|sim| {
        for name in ["one", "two"] {
            let of_main = json!({"branch": {"parent": {"branchName": "main"}}});
            sim.database(name, "staging", with(simple(), of_main));
        }
        sim.database("it", "development", simple());
    })
    .await
}

async fn a_circle() -> [String; 3] {
    of_it(|sim| {
        sim.database("it", "preview", with(simple(), child_of("other")));
        sim.database("other", "preview", with(simple(), child_of("it")));
    })
    .await
}

async fn nobody_admits() -> [String; 3] {
    let operator = begin(|sim| {
        sea_with_a_preview(sim);
        sim.namespace("strangers", &[]);
        sim.database_in("strangers", "it", "preview", of_the_sea(json!({})));
    })
    .await;
    said(&operator.sim.get_database_in("strangers", "it").unwrap())
}

/// The event about an annotation: it is told once and changes nothing.
async fn an_old_request() -> [String; 3] {
    let mut operator = a_settled_preview().await;
    let sim = operator.sim.clone();
    let before = it(&operator).status.unwrap().branch;
    let id = before.clone().unwrap().id;
    let request = format!("{id}@{}", sim.now() - MINUTE * 16);
    sim.annotate_database("it", RESET, &request);
    operator.run_for(MINUTE).await;
    assert_eq!(it(&operator).status.unwrap().branch, before);
    let told = sim.lock().said.clone();
    let told: Vec<&str> = told
        .lines()
        .filter(|l| l.contains("AnnotationIgnored"))
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let (_, message) = told[0].split_once("message: \"").unwrap();
    let (message, _) = message.split_once('"').unwrap();
    // the branch's id and the time are of this run
    let message = message.replace(&request, "br-calm-sea-1@2026-01-31T12:00:00Z");
    ["Event".to_owned(), "AnnotationIgnored".to_owned(), message]
}

async fn a_misspelt_schema() -> [String; 3] {
    let roles = json!({"roles": [{"name": "web", "access": "ReadWrite", "schemas": ["reprots"]}]});
    let operator = begin(|sim| sim.database("it", "production", with(simple(), roles))).await;
    let told = events(&operator.sim, "SchemaNotFound");
    assert_eq!(told.len(), 1, "{told:?}");
    [
        "Event".to_owned(),
        "SchemaNotFound".to_owned(),
        told[0].clone(),
    ]
}

async fn a_repeated_request() -> [String; 3] {
    let mut operator = a_settled_preview().await;
    let sim = operator.sim.clone();
    let id = it(&operator).status.unwrap().branch.unwrap().id;
    let request = format!("{id}@{}", sim.now());
    sim.annotate_database("it", RESET, &request);
    operator.settle().await;
    let reset = it(&operator);
    // applied again from a repository, which has the annotation as it was
    sim.annotate_database("it", RESET, &request);
    operator.run_for(MINUTE).await;
    operator.settle().await;
    assert_eq!(
        it(&operator).status.unwrap().branch,
        reset.status.unwrap().branch
    );
    said(&it(&operator))
}

async fn two_that_claim_one_branch() -> [String; 3] {
    of_it(|sim| {
        sim.database("production", "production", simple());
        sim.clock.advance(SignedDuration::from_secs(5));
        sim.database("it", "production", simple());
    })
    .await
}

async fn two_that_claim_one_setting() -> [String; 3] {
    let operator = begin(|sim| {
        sim.project("sea", json!({"settings": {"historyRetention": "6d"}}));
        sim.clock.advance(SignedDuration::from_secs(5));
        sim.project("it", json!({"settings": {"historyRetention": "2d"}}));
    })
    .await;
    said(&operator.sim.get_project("it").unwrap())
}

async fn no_more_protected_branches() -> [String; 3] {
    of_it(|sim| {
        sim.at_neon(|project, _| project.most_protected = Some(1));
        sim.database("production", "production", simple());
        let spec = json!({"branch": {"protected": true}});
        sim.database("it", "staging", with(simple(), spec));
    })
    .await
}

async fn more_than_the_plan_has() -> [String; 3] {
    of_it(|sim| {
        sim.at_neon(|project, _| project.plan.max_cu = Some(2.0));
        sim.database("production", "production", simple());
        let compute = json!({"compute": {"minCU": 1, "maxCU": 4}});
        let spec = with(with(simple(), child_of("production")), compute);
        sim.database("it", "preview", spec);
    })
    .await
}

async fn of_a_longer_lease() -> [String; 3] {
    let mut branch = child_of("production");
    branch["branch"]["lease"] = json!("90d");
    of_a_preview(branch).await
}

async fn a_project_without_passwords() -> [String; 3] {
    of_it(|sim| {
        sim.at_neon(|project, _| project.stores_no_passwords = true);
        sim.database("it", "production", simple());
    })
    .await
}

/// What is said of a preview of this moment of production.
async fn of_the_past(at: Value) -> [String; 3] {
    let parent = json!({"databaseRef": {"name": "production"}, "at": at});
    of_a_preview(json!({"branch": {"parent": parent}})).await
}

async fn somebody_elses_secret() -> [String; 3] {
    of_it(|sim| {
        sim.database("it", "production", simple());
        let mut state = sim.lock();
        let kubernetes = &mut state.kubernetes;
        kubernetes.foreign_secret(NAMESPACE, "it", &[("mine", "x")]);
    })
    .await
}

/// What the operator says about everything that the document has a row for, by what was written.
async fn answers() -> BTreeMap<&'static str, [String; 3]> {
    let unknown_parent =
        of_it(|sim| sim.database("it", "preview", with(simple(), child_of("staging"))));
    let extension =
        |name: &str| json!({"databases": [{"name": "app", "extensions": [name_of(name)]}]});
    let role = json!({"roles": [{"name": "pg_monitor", "access": "ReadOnly"}]});
    let template = json!({"data": {"URL": "postgres://$(pasword)"}});
    let secret = json!({"connectionSecrets": [{"name": "it", "template": template}]});
    [
        ("a parent that does not exist", unknown_parent.await),
        (
            "a parent that is being deleted",
            a_parent_that_is_being_deleted().await,
        ),
        ("a parent with a lease", a_parent_with_a_lease().await),
        (
            "no parent, and two objects that could be the default one",
            two_that_could_be_the_parent().await,
        ),
        ("parents that go round in a circle", a_circle().await),
        (
            "an object that no access rule of the NeonProject admits",
            nobody_admits().await,
        ),
        (
            "an extension that the server does not have",
            of_a_preview(extension("pgcripto")).await,
        ),
        ("a role whose name is reserved", of_a_preview(role).await),
        (
            "a schema of a role that does not exist",
            a_misspelt_schema().await,
        ),
        (
            "an owner whose name Neon refuses",
            of_a_preview(json!({"databases": [{"name": "jobs", "owner": "pg_boss"}]})).await,
        ),
        (
            "a reset that was asked for too long ago",
            an_old_request().await,
        ),
        (
            "a reset that was carried out before",
            a_repeated_request().await,
        ),
        (
            "a branch that another object has",
            two_that_claim_one_branch().await,
        ),
        (
            "a project setting that another NeonProject sets otherwise",
            two_that_claim_one_setting().await,
        ),
        (
            "more protected branches than the plan has",
            no_more_protected_branches().await,
        ),
        (
            "a setting that the running server refuses",
            a_setting_for_a_running_server().await,
        ),
        (
            "a setting that a new compute does not start with",
            of_a_preview(compute_with(UNKNOWN_SETTING)).await,
        ),
        (
            "a compute that is larger than the plan has",
            more_than_the_plan_has().await,
        ),
        (
            "a lease that is longer than Neon allows",
            of_a_longer_lease().await,
        ),
        (
            "a Neon project that stores no passwords",
            a_project_without_passwords().await,
        ),
        (
            "a time to fork from that Neon no longer has",
            of_the_past(json!({"time": "2001-01-01T00:00:00Z"})).await,
        ),
        (
            "a position to fork from that Neon does not have",
            of_the_past(json!({"lsn": "F/0"})).await,
        ),
        (
            "a template with a variable that does not exist",
            of_a_preview(secret).await,
        ),
        (
            "a Secret name that somebody else has taken",
            somebody_elses_secret().await,
        ),
        (
            "the name of another NeonDatabase's Secret",
            of_a_preview(json!({"connectionSecrets": [{"name": "production"}]})).await,
        ),
    ]
    .into()
}

fn name_of(extension: &str) -> Value {
    json!({"name": extension})
}

#[tokio::test(start_paused = true)]
async fn the_document_says_what_the_operator_says() {
    let answers = answers().await;
    let told = |(what, said): (&&str, &[String; 3])| ((*what).to_owned(), said.clone());
    let mut expected: Vec<Row> = answers.iter().map(told).collect();
    let mut written = rows();
    expected.sort();
    written.sort();
    assert_eq!(written, expected);
}
