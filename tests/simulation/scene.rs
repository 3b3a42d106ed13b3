//! Worlds that tests begin with.

use std::ops::Range;

use serde_json::{Value, json};

use crate::world::Sim;
use crate::world::operator::Operator;

/// Two files.
pub const FILES: [(&str, &str); 2] = [
    (
        "001_robots.sql",
        "CREATE TABLE robots (id bigint PRIMARY KEY);",
    ),
    ("002_names.sql", "ALTER TABLE robots ADD COLUMN name text;"),
];

/// Two databases, three roles and a Secret for each way in.
pub fn inside(name: &str) -> Value {
    let secret = |suffix: &str| format!("{name}-{suffix}");
    json!({
        "databases": [{"name": "app", "extensions": [{"name": "pg_trgm"}]}, {"name": "jobs", "owner": "jobs_owner"}],
        "roles": [
            {"name": "web", "access": "ReadWrite"},
            {"name": "worker", "access": "Admin", "databases": ["jobs"]},
            {"name": "report", "access": "ReadOnly", "databases": ["app"]},
        ],
        "connectionSecrets": [
            {"name": secret("web"), "role": "web", "database": "app"},
            {"name": secret("web-jobs"), "role": "web", "database": "jobs"},
            {"name": secret("worker"), "role": "worker"},
            {"name": secret("report"), "role": "report"},
        ],
    })
}

/// One database, one role and one Secret.
pub fn simple() -> Value {
    json!({"databases": [{"name": "app"}], "roles": [{"name": "web", "access": "ReadWrite"}]})
}

/// In each of so many projects so many environments: production, which has a migration, and previews of it.
pub fn town(sim: &Sim, projects: usize, of_each: usize) {
    founded(sim, projects);
    grown(sim, projects, 1..of_each);
}

/// In each of so many projects production with a migration.
pub fn founded(sim: &Sim, projects: usize) {
    sim.files(&FILES);
    for number in 1..=projects {
        let project = format!("project-{number}");
        sim.neon_project(&project);
        let production = format!("production-{number}");
        let inside = with(simple(), json!({"projectId": project}));
        sim.database(&production, "production", inside);
        sim.migration(&production, json!({}));
    }
}

/// In each of so many projects these previews of production, of which every fifth has a migration.
pub fn grown(sim: &Sim, projects: usize, previews: Range<usize>) {
    for number in 1..=projects {
        let inside = with(simple(), child_of(&format!("production-{number}")));
        let inside = with(inside, json!({"projectId": format!("project-{number}")}));
        for preview in previews.clone() {
            let name = format!("pr-{number}-{preview}");
            sim.database(&name, "preview", inside.clone());
            if preview % 5 == 0 {
                sim.migration(&name, json!({}));
            }
        }
    }
}

pub fn with(mut spec: Value, more: Value) -> Value {
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    spec
}

pub fn child_of(parent: &str) -> Value {
    json!({"branch": {"parent": {"databaseRef": {"name": parent}}}})
}

/// All four environments, each a branch of the one before, with migrations.
pub fn everything(sim: &Sim) {
    sim.files(&FILES);
    sim.database("production", "production", inside("production"));
    sim.database("staging", "staging", inside("staging"));
    sim.database("development", "development", inside("development"));
    sim.database("pr-7", "preview", with(simple(), child_of("staging")));
    for name in ["production", "staging", "development", "pr-7"] {
        sim.migration(name, json!({"database": "app"}));
    }
}

/// Production and a preview of it, with migrations.
pub fn production_and_preview(sim: &Sim) {
    sim.files(&FILES);
    sim.database("production", "production", simple());
    sim.database("pr-7", "preview", with(simple(), child_of("production")));
    sim.migration("production", json!({}));
    sim.migration("pr-7", json!({}));
}

/// Production, and a preview of it that alone has a migration.
pub fn preview_with_a_migration(sim: &Sim) {
    sim.files(&FILES);
    sim.database("production", "production", simple());
    sim.database("pr-7", "preview", with(simple(), child_of("production")));
    sim.migration("pr-7", json!({}));
}

/// An operator in a world in which this was done and has come to rest.
pub async fn settled(scene: fn(&Sim)) -> Operator {
    let sim = Sim::new();
    scene(&sim);
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    operator
}
