//! What has to hold of a world that has come to rest, whatever happened on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sepulki::api::{DeletionPolicy, NeonDatabase, SepulkiMigration};
use sepulki::database::desired::{Desired, Role};
use sepulki::database::inherit::inherit;
use sepulki::reconcile::Conditions;

use crate::world::kubernetes::{Key, StoredSecret};
use crate::world::neon::{NEON_SECRET, SimBranch};
use crate::world::{API_KEY, NAMESPACE, Sim, State};

/// Checks everything.
pub fn check(sim: &Sim, files: &[(&str, &str)]) {
    let state = sim.lock();
    every_object_is_ready(&state);
    one_branch_per_object(&state);
    for object in state.kubernetes.databases.values() {
        logins_belong_to_roles(&state, object);
    }
    secrets_are_those_wanted_and_work(&state);
    for (key, object) in state.kubernetes.databases.iter() {
        replicas_are_those_wanted(&state, key, object);
    }
    parents_and_children_share_no_password(&state);
    for migration in state.kubernetes.migrations.values() {
        every_file_ran_once(&state, migration, files);
    }
    nothing_secret_was_said(&state);
    assert_eq!(state.disturbed, [""; 0], "while a migration was at work");
}

/// Checks that an object is gone, and what it left: nothing, or a branch and Secrets that go on working.
pub fn check_gone(sim: &Sim, name: &str, retained: bool) {
    let state = sim.lock();
    let key = (NAMESPACE.to_owned(), name.to_owned());
    assert!(
        !state.kubernetes.databases.contains_key(&key),
        "{name} is still there"
    );
    let mine = |branch: &&SimBranch| {
        mark(branch).as_ref() == Some(&key) || (branch.branch.default && name == "production")
    };
    let branches: Vec<&SimBranch> = state
        .neon
        .projects
        .values()
        .flat_map(|project| &project.branches)
        .filter(mine)
        .collect();
    let secrets = published(&state, NAMESPACE, name);
    if retained {
        let [branch] = branches.as_slice() else {
            panic!("{} branches of {name}", branches.len());
        };
        assert_eq!(secrets.len(), 1, "Secrets of {name}");
        for stored in secrets.values() {
            assert_eq!(stored.secret.metadata.owner_references, None);
            works(branch, stored, "app");
        }
    } else {
        assert!(branches.is_empty(), "branches of {name}");
        assert!(secrets.is_empty(), "Secrets of {name}");
        for released in state.released.iter().filter(|r| r.object == name) {
            assert!(
                released.branches.is_empty(),
                "released before {:?} was deleted",
                released.branches
            );
        }
    }
    nothing_secret_was_said(&state);
}

fn every_object_is_ready(state: &State) {
    for (key, object) in state.kubernetes.projects.iter() {
        assert!(object.is_settled(), "{key:?}: {:?}", object.conditions());
    }
    for (key, object) in state.kubernetes.databases.iter() {
        assert!(object.is_settled(), "{key:?}: {:?}", object.conditions());
    }
    for (key, object) in state.kubernetes.migrations.iter() {
        assert!(object.is_settled(), "{key:?}: {:?}", object.conditions());
    }
}

/// The branch that an object says is its own.
pub fn branch_of<'a>(state: &'a State, object: &NeonDatabase) -> &'a SimBranch {
    let status = object.status.as_ref().expect("a status");
    let recorded = status.branch.as_ref().expect("a branch");
    state
        .neon
        .branch(&recorded.id)
        .expect("the recorded branch")
}

fn one_branch_per_object(state: &State) {
    let mut held = BTreeMap::new();
    for (key, object) in state.kubernetes.databases.iter() {
        let branch = branch_of(state, object);
        let other = held.insert(branch.branch.id.to_string(), key.clone());
        assert_eq!(other, None, "held by {key:?}, too");
        let recorded = object.status.as_ref().unwrap().branch.as_ref().unwrap();
        let marked = mark(branch);
        assert_eq!(marked.is_none(), recorded.taken_over, "{key:?}");
        if let Some(marked) = marked {
            assert_eq!(marked, *key);
        }
        let lease = branch.branch.expires_at.is_some();
        assert_eq!(
            lease,
            object.spec.environment.as_str() == "preview",
            "{key:?}"
        );
    }
    for branch in state.neon.projects.values().flat_map(|p| &p.branches) {
        let id = branch.branch.id.to_string();
        let ownerless = mark(branch).is_some() && !held.contains_key(&id);
        assert!(!ownerless, "nobody holds {}", branch.branch.name);
    }
}

/// The object whose mark a branch bears.
fn mark(branch: &SimBranch) -> Option<Key> {
    let note = |key: &str| branch.branch.annotations.get(key).cloned();
    Some((note("sepulki-namespace")?, note("sepulki-name")?))
}

fn desired(state: &State, object: &NeonDatabase) -> Desired {
    let all: Vec<_> = state
        .kubernetes
        .databases
        .values()
        .cloned()
        .map(Arc::new)
        .collect();
    Desired::of(&inherit(object, &all).0, "default")
}

/// Every open login is the one of a role that has a Secret; rights are those that were asked for.
fn logins_belong_to_roles(state: &State, object: &NeonDatabase) {
    let branch = branch_of(state, object);
    let desired = desired(state, object);
    let rest = desired.rest.as_ref().unwrap();
    let published: BTreeSet<&String> = rest.secrets.iter().map(|s| &s.role).collect();
    let mut expected = BTreeSet::new();
    for role in &object.status.as_ref().unwrap().roles {
        if published.contains(&role.name) {
            let login = role.login.clone().expect("a login");
            let groups = &branch.server.roles[&login].member_of;
            assert_eq!(groups.iter().collect::<Vec<_>>(), [&role.name]);
            let asked = rest.roles.iter().find(|asked| asked.name == role.name);
            let shape = &branch.server.roles[&login].shape;
            assert_eq!(Some(shape.clone()), asked.map(Role::shape));
            expected.insert(login);
            expected.extend(role.previous_login.clone());
            assert!(role.rotation_time.is_some(), "{}", role.name);
        }
    }
    assert_eq!(
        branch.server.open_logins(),
        expected,
        "on {}",
        branch.branch.name
    );
    for wanted in &rest.databases {
        let database = &branch.server.databases[&wanted.name];
        for extension in &wanted.extensions {
            let (version, _) = &database.extensions[&extension.name];
            assert!(
                extension
                    .version
                    .as_ref()
                    .is_none_or(|asked| asked == version)
            );
        }
        assert!(!database.public, "{} is open to all", wanted.name);
        assert!(!database.locked);
        for role in &rest.roles {
            let schemas = role
                .schemas
                .iter()
                .filter(|s| database.schemas.contains(*s));
            let rights = (role.access, schemas.cloned().collect());
            let asked = role.databases.contains(&wanted.name).then_some(rights);
            let granted = database.grants.get(&role.name).cloned();
            assert_eq!(granted, asked, "{} on {}", role.name, wanted.name);
        }
    }
}

/// The Secrets of an object that say so.
fn published<'a>(
    state: &'a State,
    namespace: &str,
    object: &str,
) -> BTreeMap<&'a String, &'a StoredSecret> {
    let of = |(key, stored): (&'a Key, &'a StoredSecret)| {
        let notes = stored.secret.metadata.annotations.as_ref()?;
        let mine = notes.get("sepulki.dev/neondatabase").map(String::as_str) == Some(object);
        (mine && key.0 == namespace).then_some((&key.1, stored))
    };
    state.kubernetes.secrets.iter().filter_map(of).collect()
}

fn secrets_are_those_wanted_and_work(state: &State) {
    let mut known = BTreeSet::new();
    for (key, object) in state.kubernetes.databases.iter() {
        let desired = desired(state, object);
        let rest = desired.rest.as_ref().unwrap();
        let found = published(state, &key.0, &key.1);
        let wanted: BTreeSet<&String> = rest.secrets.iter().map(|s| &s.name).collect();
        assert_eq!(
            found.keys().copied().collect::<BTreeSet<_>>(),
            wanted,
            "of {key:?}"
        );
        known.extend(found.keys().map(|name| (key.0.clone(), (*name).clone())));
        let given = rest.roles.iter().filter_map(|role| role.password.as_ref());
        known.extend(given.map(|at| (key.0.clone(), at.name.0.clone())));
        assert_eq!(
            wanted.len(),
            object.status.as_ref().unwrap().connection_secrets.len()
        );
        secrets_are_recorded(state, object);
        for secret in &rest.secrets {
            opens(state, object, found[&secret.name], &secret.database);
        }
    }
    let all: BTreeSet<Key> = state.kubernetes.secrets.keys().cloned().collect();
    let others = all.difference(&known).filter(|key| key.1 != "neon-api-key");
    assert_eq!(others.count(), 0, "Secrets that nobody wants: {all:?}");
}

/// The record says of each Secret which login it holds, and which one still works beside it.
fn secrets_are_recorded(state: &State, object: &NeonDatabase) {
    let status = object.status.as_ref().unwrap();
    for entry in &status.connection_secrets {
        let namespace = object.metadata.namespace.clone().unwrap_or_default();
        let key = (namespace, entry.name.clone());
        let data = state.kubernetes.secrets[&key]
            .secret
            .data
            .clone()
            .unwrap_or_default();
        assert_eq!(data["PGUSER"].0, entry.login.as_bytes(), "{}", entry.name);
        let role = status
            .roles
            .iter()
            .find(|role| role.name == entry.role)
            .unwrap();
        assert_eq!(role.login.as_ref(), Some(&entry.login));
        assert_eq!(role.previous_login, entry.previous_login);
        assert_eq!(role.rotation_time, entry.rotation_time);
    }
}

/// Whether the branch goes with the object, and the Secrets with it.
fn goes(object: &NeonDatabase) -> bool {
    let status = object.status.as_ref().unwrap();
    let effective = status.effective.as_ref().unwrap();
    let policy = object.spec.deletion_policy;
    let branch = object.spec.branch.as_ref();
    let existing = branch.and_then(|branch| branch.existing.as_ref());
    let by_id = existing.is_some_and(|existing| existing.id.is_some());
    policy.unwrap_or(effective.deletion_policy) == DeletionPolicy::Delete
        && (by_id || !status.branch.as_ref().unwrap().taken_over)
}

/// The Secret goes with its object where its branch does, and its credentials open this database of the object's branch.
fn opens(state: &State, object: &NeonDatabase, stored: &StoredSecret, database: &str) {
    let owners = stored
        .secret
        .metadata
        .owner_references
        .clone()
        .unwrap_or_default();
    let uids: Vec<&String> = owners.iter().map(|owner| &owner.uid).collect();
    let uid = object.metadata.uid.as_ref().filter(|_| goes(object));
    assert_eq!(uids, Vec::from_iter(uid));
    works(branch_of(state, object), stored, database);
}

/// A branch has the read replicas that are asked for, as they are asked for; the record and every Secret lead to them.
fn replicas_are_those_wanted(state: &State, key: &Key, object: &NeonDatabase) {
    let asked = object.spec.compute.iter().flat_map(|c| &c.read_replicas);
    let mut expected = BTreeMap::new();
    let mut found = branch_of(state, object).replicas.clone();
    for asked in asked {
        let name = format!("sepulki-{}", asked.name);
        let at = found
            .iter()
            .position(|e| e.endpoint.name.as_ref() == Some(&name));
        let endpoint = found.remove(at.expect("the replica")).endpoint;
        if let Some(most) = asked.max_cu {
            assert!((endpoint.autoscaling_limit_max_cu - most).abs() < 0.01);
        }
        expected.insert(asked.name.0.clone(), endpoint);
    }
    assert_eq!(found.len(), 0, "read replicas of {key:?} that nobody wants");
    let status = object.status.as_ref().unwrap();
    let recorded = status.read_replicas.iter();
    let recorded: BTreeMap<String, String> = recorded
        .map(|one| (one.name.clone(), one.endpoint.id.clone()))
        .collect();
    let ids = expected
        .iter()
        .map(|(name, endpoint)| (name.clone(), endpoint.id.to_string()));
    assert_eq!(recorded, ids.collect(), "of {key:?}");
    for stored in published(state, &key.0, &key.1).values() {
        let data = stored.secret.data.clone().unwrap_or_default();
        let urls = data
            .iter()
            .filter(|(key, _)| key.starts_with("DATABASE_URL_") && *key != "DATABASE_URL_UNPOOLED");
        let urls: BTreeMap<String, String> = urls
            .map(|(key, url)| (key.clone(), String::from_utf8(url.0.clone()).unwrap()))
            .collect();
        assert_eq!(urls.len(), expected.len(), "{urls:?} of {key:?}");
        for (name, endpoint) in &expected {
            let url = &urls[&format!("DATABASE_URL_{}", name.to_uppercase())];
            let (label, rest) = endpoint.host.split_once('.').unwrap();
            assert!(url.contains(&format!("@{label}-pooler.{rest}:")), "{url}");
        }
    }
}

/// The credentials in a Secret open this database of this branch.
pub fn works(branch: &SimBranch, stored: &StoredSecret, database: &str) {
    let data = stored.secret.data.clone().unwrap_or_default();
    let entry = |key: &str| String::from_utf8(data[key].0.clone()).unwrap();
    let host = &branch.endpoint.as_ref().unwrap().endpoint.host;
    assert_eq!(entry("PGHOST_UNPOOLED"), *host);
    assert_eq!(entry("PGDATABASE"), database);
    let opened = branch
        .server
        .admits(&entry("PGUSER"), &entry("PGPASSWORD"), database);
    assert_eq!(
        opened,
        Ok(()),
        "{} on {}",
        entry("PGUSER"),
        branch.branch.name
    );
}

fn parents_and_children_share_no_password(state: &State) {
    for object in state.kubernetes.databases.values() {
        let child = branch_of(state, object);
        let Some(parent) = &child.branch.parent_id else {
            continue;
        };
        let Some(parent) = state.neon.branch(parent.as_str()) else {
            continue;
        };
        for (name, role) in child.server.roles.iter().filter(|(_, role)| role.login) {
            let theirs = parent
                .server
                .roles
                .values()
                .filter_map(|r| r.password.as_ref());
            let shared = theirs
                .into_iter()
                .any(|password| role.password.as_ref() == Some(password));
            assert!(
                !shared,
                "{name} of {} has its parent's password",
                child.branch.name
            );
        }
    }
}

fn every_file_ran_once(state: &State, migration: &SepulkiMigration, files: &[(&str, &str)]) {
    let name = migration.metadata.name.clone().unwrap_or_default();
    let database = migration.spec.database_ref.name.0.clone();
    let object = &state.kubernetes.databases[&(NAMESPACE.to_owned(), database)];
    let database = &branch_of(state, object).server.databases["app"];
    let versions: Vec<&str> = files.iter().map(|(version, _)| *version).collect();
    let rows = database.state().rows;
    let rows: Vec<&str> = rows.iter().map(|row| row.version.as_str()).collect();
    assert_eq!(rows, versions, "rows of {name}");
    assert_eq!(database.ran, versions, "what ran for {name}");
    let applied = migration.status.as_ref().unwrap().applied.as_ref().unwrap();
    assert_eq!(usize::try_from(applied.count), Ok(versions.len()), "{name}");
}

/// No password and no key in any status, event or error.
pub fn nothing_secret_was_said(state: &State) {
    assert!(!state.passwords.is_empty() && !state.said.is_empty());
    let passwords = state.passwords.iter().map(String::as_str);
    for secret in passwords.chain([API_KEY, NEON_SECRET]) {
        assert!(!state.said.contains(secret), "a password or key was said");
    }
}
