//! Application roles: what they get, what they lose, and what is told of them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use sepulki::api::{Access, NeonDatabase, Reason};
use serde_json::{Value, json};

use crate::database::{condition, events, stalled};
use crate::invariants::{branch_of, check};
use crate::scene::{FILES, child_of, settled, simple, with};
use crate::world::Sim;
use crate::world::operator::Operator;
use crate::world::postgres::PgRole;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn production(operator: &Operator) -> NeonDatabase {
    operator.sim.get_database("production").unwrap()
}

/// Lets the operator see an edit of the roles.
async fn edit_roles(operator: &mut Operator, roles: Value) {
    operator.sim.edit_database("production", |object| {
        object.spec.roles = serde_json::from_value(roles).unwrap();
    });
    operator.settle().await;
}

/// Logins of production that are open.
fn open(operator: &Operator) -> BTreeSet<String> {
    let object = production(operator);
    let state = operator.sim.lock();
    branch_of(&state, &object).server.open_logins()
}

#[tokio::test(start_paused = true)]
async fn a_schema_that_a_migration_makes_gets_its_rights_then() {
    let roles = json!([{"name": "web", "access": "ReadWrite", "schemas": ["public", "reports"]}]);
    let mut operator = settled(|sim: &Sim| {
        sim.files(&FILES);
        sim.database("production", "production", simple());
        sim.migration("production", json!({}));
    })
    .await;
    edit_roles(&mut operator, roles).await;
    let object = production(&operator);
    let (is, _, message) = condition(&object, "DatabasesReady");
    assert!(is);
    assert_eq!(
        message,
        "not granted: web: the schema reports of the database app, which does not exist"
    );
    assert!(condition(&object, "Ready").0);
    let sessions = operator.sim.lock().sessions;
    operator.run_for(MINUTE * 9).await;
    assert_eq!(
        operator.sim.lock().sessions,
        sessions,
        "nothing is looked for at rest"
    );

    let file = ("003_reports.sql", "CREATE SCHEMA reports;");
    assert_eq!(
        events(&operator.sim, "SchemaNotFound"),
        [
            "schemas that spec.roles names do not exist: reports in the database app; rights are given when a migration of \
             this object has made them"
        ]
    );
    operator.sim.files(&[FILES[0], FILES[1], file]);
    let begun = operator.sim.now();
    operator.settle().await;
    let took = operator.sim.now().duration_since(begun);
    assert!(took < SignedDuration::from_secs(30), "{took}");
    check(&operator.sim, &[FILES[0], FILES[1], file]);
    let object = production(&operator);
    assert_eq!(condition(&object, "DatabasesReady").2, "");
    let state = operator.sim.lock();
    let granted = &branch_of(&state, &object).server.databases["app"].grants["web"];
    let schemas = ["public".to_owned(), "reports".to_owned()].into();
    assert_eq!(*granted, (Access::ReadWrite, schemas));
}

#[tokio::test(start_paused = true)]
async fn a_role_that_leaves_the_list_loses_its_login_and_its_secret() {
    let two = json!({"roles": [{"name": "web", "access": "ReadWrite"}, {"name": "report", "access": "ReadOnly"}],
        "connectionSecrets": [{"name": "production", "role": "web"}, {"name": "reports", "role": "report"}]});
    let sim = Sim::new();
    sim.database("production", "production", with(simple(), two));
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    check(&operator.sim, &[]);
    let logins = ["report_g1".to_owned(), "web_g1".to_owned()];
    assert_eq!(open(&operator), logins.clone().into());
    let before = operator.sim.secret("production");

    operator.sim.edit_database("production", |object| {
        object.spec.roles.truncate(1);
        object.spec.connection_secrets.truncate(1);
    });
    operator.settle().await;
    check(&operator.sim, &[]);
    assert_eq!(open(&operator), [logins[1].clone()].into());
    assert_eq!(operator.sim.secret("reports"), None);
    assert_eq!(operator.sim.secret("production"), before);

    // the role stays and only its Secret goes: nobody can have a use for the login
    operator.sim.edit_database("production", |object| {
        object.spec.connection_secrets = serde_json::from_value(json!([])).unwrap();
        object.spec.roles[0].access = Access::ReadOnly;
    });
    operator.settle().await;
    check(&operator.sim, &[]);
    assert_eq!(open(&operator), BTreeSet::new());
    assert_eq!(operator.sim.secret("production"), None);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_there_gets_a_new_limit_and_keeps_its_password() {
    let mut operator = settled(|sim: &Sim| {
        sim.database("production", "production", simple());
    })
    .await;
    let before = operator.sim.secret("production");
    let role = json!({"name": "web", "access": "ReadWrite", "connectionLimit": 90,
        "settings": {"statement_timeout": "30s"}});
    edit_roles(&mut operator, json!([role])).await;
    check(&operator.sim, &[]);
    assert_eq!(operator.sim.secret("production"), before);
}

/// Two databases, each with an owner of its own.
fn two_owners() -> Value {
    json!({"databases": [{"name": "app"}, {"name": "stats"}],
        "roles": [{"name": "web", "access": "ReadWrite", "databases": ["stats"]}],
        "connectionSecrets": [{"name": "production", "role": "web"}]})
}

/// Who has made which role on the branch of an object.
fn makers(operator: &Operator, name: &str) -> BTreeMap<String, String> {
    let object = operator.sim.get_database(name).unwrap();
    let state = operator.sim.lock();
    let roles = &branch_of(&state, &object).server.roles;
    let maker = |(name, role): (&String, &PgRole)| Some((name.clone(), role.made_by.clone()?));
    roles.iter().filter_map(maker).collect()
}

#[tokio::test(start_paused = true)]
async fn who_made_the_roles_manages_them_whichever_database_comes_first() {
    let mut operator = settled(|sim: &Sim| {
        sim.database("production", "production", two_owners());
    })
    .await;
    let by_app = |name: &str| (name.to_owned(), "app_owner".to_owned());
    let made = ["web", "web_g1"].map(by_app);
    assert_eq!(makers(&operator, "production"), made.into());
    let before = operator.sim.secret("production");
    // first the other comes first, then it is the only one
    for (limit, databases) in [(7, ["stats", "app"].as_slice()), (8, &["stats"])] {
        operator.sim.edit_database("production", |object| {
            let listed: Vec<Value> = databases.iter().map(|name| json!({"name": name})).collect();
            object.spec.databases = serde_json::from_value(json!(listed)).unwrap();
            object.spec.roles[0].connection_limit = Some(limit);
        });
        operator.settle().await;
        check(&operator.sim, &[]);
        let object = production(&operator);
        let state = operator.sim.lock();
        let roles = &branch_of(&state, &object).server.roles;
        assert_eq!(roles["web_g1"].shape.connection_limit, Some(limit));
    }
    assert_eq!(operator.sim.secret("production"), before);
    operator.sim.edit_database("production", |object| {
        let role = json!({"name": "report", "access": "ReadOnly"});
        let secret = json!({"name": "reports", "role": "report"});
        let spec = &mut object.spec;
        spec.roles.push(serde_json::from_value(role).unwrap());
        spec.connection_secrets
            .push(serde_json::from_value(secret).unwrap());
    });
    operator.settle().await;
    check(&operator.sim, &[]);
    let made = ["report", "report_g1", "web", "web_g1"].map(by_app);
    assert_eq!(makers(&operator, "production"), made.into());
}

#[tokio::test(start_paused = true)]
async fn a_child_closes_the_logins_of_its_parent_whoever_made_them() {
    let sim = Sim::new();
    sim.database("production", "production", two_owners());
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    let child = json!({"databases": [{"name": "stats"}], "roles": [{"name": "own", "access": "ReadOnly"}],
        "connectionSecrets": [{"name": "pr-7", "role": "own"}]});
    sim.database("pr-7", "preview", with(child_of("production"), child));
    operator.settle().await;
    check(&operator.sim, &[]);
    let makers = makers(&operator, "pr-7");
    assert_eq!(makers["own_g1"], "stats_owner");
    assert_eq!(makers["web_g1"], "app_owner");
    let object = operator.sim.get_database("pr-7").unwrap();
    let state = operator.sim.lock();
    let open = branch_of(&state, &object).server.open_logins();
    assert_eq!(open, ["own_g1".to_owned()].into());
}

/// Puts a template on the only Secret of production.
fn with_template(operator: &Operator, template: &Value) {
    operator.sim.edit_database("production", |object| {
        let secret = json!([{"name": "production", "template": template}]);
        object.spec.connection_secrets = serde_json::from_value(secret).unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn a_template_is_published_at_once_and_repaired() {
    let mut operator = settled(|sim: &Sim| {
        sim.database("production", "production", simple());
    })
    .await;
    let before = operator.sim.secret("production").unwrap();
    let template = |name: &str| json!({"metadata": {"labels": {"team": name}}, "data": {"DIRECT": "$(direct_url)", "NAME": name}});
    with_template(&operator, &template("robots"));
    operator.settle().await;
    check(&operator.sim, &[]);
    let published = operator.sim.secret("production").unwrap();
    assert_eq!(published["DIRECT"], before["DATABASE_URL_UNPOOLED"]);
    assert_eq!(published["NAME"], "robots");
    assert_eq!(published["PGPASSWORD"], before["PGPASSWORD"]);

    with_template(&operator, &template("arms"));
    operator.settle().await;
    let published = operator.sim.secret("production").unwrap();
    assert_eq!(published["NAME"], "arms");
    operator
        .sim
        .edit_secret("production", "DIRECT", "elsewhere");
    operator.run_for(MINUTE * 11).await;
    operator.settle().await;
    assert_eq!(operator.sim.secret("production").unwrap(), published);

    with_template(&operator, &json!({}));
    operator.settle().await;
    assert_eq!(operator.sim.secret("production").unwrap(), before);
    check(&operator.sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_template_that_cannot_be_filled_in_is_told_and_changes_nothing() {
    let mut operator = settled(|sim: &Sim| {
        sim.database("production", "production", simple());
    })
    .await;
    let before = operator.sim.secret("production");
    with_template(&operator, &json!({"data": {"X": "$(pasword)"}}));
    operator.settle().await;
    let message = stalled(&production(&operator), Reason::InvalidSpec);
    let field = "spec.connectionSecrets[0].template.data.X: there is no variable $(pasword); there are url,";
    assert!(message.starts_with(field), "{message}");
    assert_eq!(operator.sim.secret("production"), before);
}

#[tokio::test(start_paused = true)]
async fn an_extension_is_told_with_version_and_schema_and_stays_where_it_is() {
    let mut operator =
        settled(|sim: &Sim| sim.database("production", "production", simple())).await;
    let ask = |operator: &Operator, extension: Value| {
        operator.sim.edit_database("production", |object| {
            let extensions = &mut object.spec.databases[0].extensions;
            *extensions = serde_json::from_value(json!([extension])).unwrap();
        });
    };
    ask(&operator, json!({"name": "pg_trgm", "schema": "tools"}));
    operator.settle().await;
    check(&operator.sim, &[]);
    let told = production(&operator).status.unwrap().databases[0].extensions[0].clone();
    assert_eq!(
        (told.name.as_str(), told.version.as_str()),
        ("pg_trgm", "1.6")
    );
    assert_eq!(told.schema.as_deref(), Some("tools"));
    assert_eq!(condition(&production(&operator), "DatabasesReady").2, "");

    ask(
        &operator,
        json!({"name": "pg_trgm", "schema": "public", "version": "1.6"}),
    );
    operator.settle().await;
    check(&operator.sim, &[]);
    assert_eq!(
        condition(&production(&operator), "DatabasesReady").2,
        "the extension pg_trgm of the database app stays in the schema tools, not in public"
    );

    ask(&operator, json!({"name": "pg_trgm", "version": "7"}));
    operator.run_for(MINUTE).await;
    let message = stalled(&production(&operator), Reason::DatabaseRejected);
    assert_eq!(
        message,
        "spec.databases[0]: in the database app: the server has no version 7 of the extension pg_trgm; it has: 1.6"
    );
}
