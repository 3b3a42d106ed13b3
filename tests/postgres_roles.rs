//! Groups and logins, on a real server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod postgres_support;

use postgres_support::{Branch, MARK, grant, nothing_left, refused, unique, wanted, works};
use proptest::prelude::*;
use sepulki::postgres::{
    Class,
    grants::{self, Access},
    proof::{self, Proof},
    retire::{self, Kept},
    roles::{self, Login, LoginChoice, RoleFact, Shape},
};
use sepulki::{api::Reason, world::at_postgres};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

/// Names as people may write them, quotes, spaces and 58 bytes included.
const ODD_NAMES: [&str; 6] = [
    "Robot \"Ops\"",
    "it's; DROP ROLE postgres --",
    "back\\slash %I $do$",
    "séparé-κόσμος 机器人",
    "select",
    "a name of exactly fifty-eight bytes; spaces 'n' \"quotes\" .",
];

#[tokio::test]
async fn an_application_is_its_group() {
    let branch = Branch::shared().await;
    let group = unique("app");
    let mut app = branch.application(&group, Access::ReadWrite).await;
    let login = format!("{group}_g1");
    for statement in ["SELECT 1", "DISCARD ALL", "RESET ALL"] {
        app.execute(statement).await.unwrap();
        let row = app
            .fetch_one("SELECT session_user::text, current_user::text")
            .await
            .unwrap();
        assert_eq!((row.get(0), row.get(1)), (login.clone(), group.clone()));
    }
    let made = app
        .fetch_one(
            "CREATE TEMPORARY TABLE made (a int);
             SELECT tableowner::text FROM pg_tables WHERE tablename = 'made'",
        )
        .await
        .unwrap();
    assert_eq!(made.get::<String, _>(0), group);
}

#[tokio::test]
async fn a_login_holds_nothing_but_the_membership() {
    let branch = Branch::shared().await;
    let group = unique("app");
    branch.application(&group, Access::Admin).await;
    let mut owner = branch.owner().await;
    let fact = fact(&mut owner, &format!("{group}_g1")).await.unwrap();
    let expected = RoleFact {
        name: format!("{group}_g1"),
        can_login: true,
        superuser: false,
        api_role: false,
        mark: Some(MARK.to_owned()),
        member_of: vec![group.clone()],
    };
    assert_eq!(fact, expected);
    // Rights, default privileges and ownership are all dependencies on the role.
    let held = owner
        .fetch_all(AssertSqlSafe(format!(
            "SELECT classid::regclass::text FROM pg_shdepend
             WHERE refclassid = 'pg_authid'::regclass AND refobjid = '{group}_g1'::regrole
               AND classid <> 'pg_auth_members'::regclass"
        )))
        .await
        .unwrap();
    assert!(held.is_empty(), "{} objects depend on it", held.len());
}

#[tokio::test]
async fn odd_names_work_from_end_to_end() {
    assert_eq!(ODD_NAMES[5].len(), 58);
    let branch = Branch::shared().await;
    let mut owner = branch.owner().await;
    owner.execute("CREATE TABLE t (a int)").await.unwrap();
    for group in ODD_NAMES {
        let mut app = branch.application(group, Access::ReadWrite).await;
        works(&mut app, &["INSERT INTO t VALUES (1)"]).await;
        refused(&mut app, &["DROP TABLE t"]).await;
        let current = app.fetch_one("SELECT current_user::text").await.unwrap();
        assert_eq!(current.get::<String, _>(0), group);
        let facts = roles::list(&mut owner).await.unwrap();
        let expected = LoginChoice {
            login: format!("{group}_g1"),
            exists: true,
        };
        assert_eq!(roles::next_login(&facts, group, MARK), expected);
    }
}

#[tokio::test]
async fn the_password_is_replaced_and_nothing_else() {
    let branch = Branch::shared().await;
    let group = unique("app");
    branch.application(&group, Access::ReadWrite).await;
    let login = format!("{group}_g1");
    let mut owner = branch.owner().await;
    let before = catalog(&branch, &group).await;

    let replaced = wanted(&group, &login, "it's \"new\"\\ $do$ é");
    roles::ensure_login(&mut owner, &replaced).await.unwrap();
    assert_eq!(catalog(&branch, &group).await, before);
    let old = branch.target(&login, &branch.password, &branch.database);
    assert_eq!(proof::accepts(&old).await, Ok(None));
    let new = branch.target(&login, "it's \"new\"\\ $do$ é", &branch.database);
    let proof = Proof {
        login: login.clone(),
        role: group,
    };
    assert_eq!(proof::accepts(&new).await, Ok(Some(proof)));
}

#[tokio::test]
async fn a_connection_limit_is_set_and_lifted() {
    let branch = Branch::shared().await;
    let group = unique("app");
    let mut login = wanted(&group, &format!("{group}_g1"), &branch.password);
    login.shape.connection_limit = Some(1);
    let mut owner = branch.owner().await;
    roles::ensure_login(&mut owner, &login).await.unwrap();
    let limit = format!("SELECT rolconnlimit FROM pg_roles WHERE rolname = '{group}_g1'");
    let row = owner.fetch_one(AssertSqlSafe(limit.clone())).await.unwrap();
    assert_eq!(row.get::<i32, _>(0), 1);
    login.shape.connection_limit = None;
    roles::ensure_login(&mut owner, &login).await.unwrap();
    let row = owner.fetch_one(AssertSqlSafe(limit)).await.unwrap();
    assert_eq!(row.get::<i32, _>(0), -1);
}

/// Settings as the spec has them.
fn settings(entries: &[(&str, &str)]) -> Shape {
    let entry = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
    Shape {
        settings: entries.iter().map(entry).collect(),
        ..Shape::default()
    }
}

/// What a session of the login begins with.
async fn begins_with(branch: &Branch, login: &str, name: &str) -> String {
    let mut session = branch.session(login, &branch.password).await;
    let row = session
        .fetch_one(AssertSqlSafe(format!("SELECT current_setting('{name}')")))
        .await
        .unwrap();
    session.close().await.unwrap();
    row.get(0)
}

#[tokio::test]
async fn sessions_begin_with_the_settings_of_the_role() {
    let branch = Branch::shared().await;
    let group = unique("app");
    let mut owner = branch.owner().await;
    let wanted = Login {
        shape: settings(&[
            ("statement_timeout", "30s"),
            ("search_path", "\"Odd, one\", public"),
            ("IntervalStyle", "iso_8601"),
            ("application_name", "it's \\ \"ours\""),
        ]),
        ..wanted(&group, &format!("{group}_g1"), &branch.password)
    };
    roles::ensure_login(&mut owner, &wanted).await.unwrap();
    let login = wanted.login.as_str();
    for (name, value) in [
        ("statement_timeout", "30s"),
        ("search_path", "\"Odd, one\", public"),
        ("IntervalStyle", "iso_8601"),
        ("role", &group),
    ] {
        assert_eq!(begins_with(&branch, login, name).await, value, "{name}");
    }

    // a login that is there already gets what is asked for later, and loses what is not
    let shape = Shape {
        connection_limit: Some(3),
        ..settings(&[("statement_timeout", "5s")])
    };
    roles::ensure_group(&mut owner, &group, MARK, &shape)
        .await
        .unwrap();
    assert_eq!(begins_with(&branch, login, "statement_timeout").await, "5s");
    assert_eq!(
        begins_with(&branch, login, "IntervalStyle").await,
        "postgres"
    );
    assert_eq!(begins_with(&branch, login, "role").await, group);
    let limit = format!("SELECT rolconnlimit FROM pg_roles WHERE rolname = '{login}'");
    let row = owner.fetch_one(AssertSqlSafe(limit)).await.unwrap();
    assert_eq!(row.get::<i32, _>(0), 3);
}

#[tokio::test]
async fn a_setting_that_the_server_does_not_take_is_named() {
    let branch = Branch::shared().await;
    let mut owner = branch.owner().await;
    for (name, value, words) in [
        (
            "statement_timout",
            "30s",
            "unrecognized configuration parameter",
        ),
        (
            "statement_timeout",
            "soon",
            "invalid value for parameter \"statement_timeout\"",
        ),
        (
            "log_statement",
            "none",
            "permission denied to set parameter",
        ),
        // one that no server knows is for superusers to set
        ("app.tenant", "x", "permission denied to set parameter"),
        (
            "port",
            "1",
            "cannot be changed without restarting the server",
        ),
    ] {
        let group = unique("app");
        let shape = settings(&[("work_mem", "8MB"), (name, value)]);
        let error = roles::ensure_group(&mut owner, &group, MARK, &shape)
            .await
            .unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        let setting = error.setting.clone().unwrap();
        assert_eq!((setting.group, setting.name), (group.clone(), name.into()));
        let told = at_postgres(error);
        assert_eq!(told.reason, Reason::DatabaseRejected);
        assert_eq!(fact(&mut owner, &group).await, None, "nothing is half done");
    }
}

#[tokio::test]
async fn logins_of_a_role_that_is_no_longer_listed_are_closed_and_no_others() {
    let branch = Branch::alone().await;
    let mut owner = branch.owner().await;
    let (gone, kept) = (branch.login("gone").await, branch.login("kept").await);
    let mut leaving = branch.session(&gone, &branch.password).await;
    let mut staying = branch.session(&kept, &branch.password).await;
    owner
        .execute("CREATE ROLE theirs LOGIN; COMMENT ON ROLE theirs IS 'somebody else''s'")
        .await
        .unwrap();
    for _ in 0..2 {
        let kept = Kept {
            group: "kept".to_owned(),
            logins: Vec::new(),
        };
        retire::close_leftovers(&mut owner, MARK, &[kept])
            .await
            .unwrap();
    }
    assert!(leaving.execute("SELECT 1").await.is_err(), "still open");
    works(&mut staying, &["SELECT 1"]).await;
    for (role, can_login) in [(&*gone, false), (&kept, true), ("theirs", true)] {
        let found = fact(&mut owner, role).await.unwrap();
        assert_eq!(found.can_login, can_login, "{role}");
    }
    // listed again, it is the same login with another password
    let again = branch.login("gone").await;
    assert_eq!(again, gone);
    branch.session(&again, &branch.password).await;
}

/// A second login of the group, as a rotation makes it.
async fn another_login(branch: &Branch, group: &str) -> String {
    let mut owner = branch.owner().await;
    let facts = roles::list(&mut owner).await.unwrap();
    let login = roles::following_login(&facts, group);
    let next = wanted(group, &login, &branch.password);
    roles::ensure_login(&mut owner, &next).await.unwrap();
    login
}

#[tokio::test]
async fn a_login_that_was_replaced_is_dropped_with_its_sessions_and_leaves_what_it_made() {
    let branch = Branch::shared().await;
    let group = unique("app");
    let mut old = branch.application(&group, Access::ReadWrite).await;
    let mut owner = branch.owner().await;
    owner.execute("CREATE SCHEMA free").await.unwrap();
    let first = format!("{group}_g1");
    owner
        .execute(AssertSqlSafe(format!(
            "GRANT CREATE ON SCHEMA free TO {first}; GRANT USAGE ON SCHEMA free TO {group}"
        )))
        .await
        .unwrap();
    // an application that steps out of its role makes something of its own
    old.execute("SET ROLE NONE; CREATE TABLE free.made (a int); RESET ROLE")
        .await
        .unwrap();
    let second = another_login(&branch, &group).await;
    assert_eq!(second, format!("{group}_g2"));
    let mut new = branch.session(&second, &branch.password).await;

    let databases = retire::begin_dropping(&mut owner, &first, MARK).await;
    assert_eq!(databases, Ok(Some(vec![branch.database.clone()])));
    assert!(old.execute("SELECT 1").await.is_err(), "still open");
    // whatever ends an operator here, the next one goes on
    let databases = retire::begin_dropping(&mut owner, &first, MARK).await;
    assert_eq!(databases, Ok(Some(vec![branch.database.clone()])));
    retire::give_up(&mut owner, &group, &first).await.unwrap();
    let databases = retire::begin_dropping(&mut owner, &first, MARK).await;
    assert_eq!(databases, Ok(Some(Vec::new())));
    retire::finish_dropping(&mut owner, &first).await.unwrap();
    let databases = retire::begin_dropping(&mut owner, &first, MARK).await;
    assert_eq!(databases, Ok(None));
    assert_eq!(fact(&mut owner, &first).await, None);

    works(&mut new, &["SELECT * FROM free.made", "SELECT 1"]).await;
    let facts = roles::list(&mut owner).await.unwrap();
    let me = facts.iter().find(|fact| fact.name == branch.owner).unwrap();
    assert_eq!(
        me.member_of.contains(&group),
        fact_of_creator(&branch).await
    );
    assert_eq!(
        roles::following_login(&facts, &group),
        format!("{group}_g3")
    );
}

/// From PostgreSQL 16 on whoever makes a role is a member of it, without its rights.
async fn fact_of_creator(branch: &Branch) -> bool {
    let row = branch
        .superuser()
        .await
        .fetch_one("SELECT current_setting('server_version_num')::int >= 160000")
        .await
        .unwrap();
    row.get(0)
}

#[tokio::test]
async fn a_login_of_somebody_else_is_not_dropped() {
    let branch = Branch::shared().await;
    let group = unique("app");
    let mut app = branch.application(&group, Access::ReadOnly).await;
    let mut owner = branch.owner().await;
    let login = format!("{group}_g1");
    let dropped = retire::begin_dropping(&mut owner, &login, "another mark").await;
    assert_eq!(dropped, Ok(None));
    works(&mut app, &["SELECT 1"]).await;
}

#[test]
fn the_recorded_login_is_used_unless_it_is_somebody_elses() {
    let fact = |name: &str, mark: Option<&str>| RoleFact {
        name: name.to_owned(),
        can_login: true,
        superuser: false,
        api_role: false,
        mark: mark.map(str::to_owned),
        member_of: Vec::new(),
    };
    let facts = [
        fact("app_g1", Some(MARK)),
        fact("app_g2", Some(MARK)),
        fact("app_g3", None),
    ];
    for (recorded, expected) in [
        (None, "app_g2"),
        (Some("app_g1"), "app_g1"),
        (Some("app_g4"), "app_g4"),
        (Some("app_g3"), "app_g2"),
        (Some("other_g1"), "app_g2"),
    ] {
        let login = roles::login_to_use(&facts, "app", MARK, recorded);
        assert_eq!(login, expected, "{recorded:?}");
    }
    let kept = |logins: &[&str]| Kept {
        group: "app".to_owned(),
        logins: logins.iter().map(ToString::to_string).collect(),
    };
    let left = |kept: &[Kept]| retire::leftovers(&facts, MARK, kept);
    let restored = |kept: &[Kept]| retire::leftovers(&facts, &format!("{MARK}-restored"), kept);
    assert_eq!(restored(&[kept(&[])]), ["app_g1", "app_g2"]);
    assert_eq!(restored(&[kept(&["app_g1"])]), ["app_g2"]);
    let after = format!("{MARK}-restored");
    let earlier = |kept: &[Kept]| retire::from_earlier(&facts, &after, kept);
    assert_eq!(earlier(&[kept(&["app_g1", "app_g3"])]), ["app_g1"]);
    assert_eq!(
        retire::from_earlier(&facts, MARK, &[kept(&["app_g1"])]),
        [""; 0]
    );
    assert_eq!(left(&[]), ["app_g1", "app_g2"]);
    assert_eq!(left(&[kept(&[])]), ["app_g1"]);
    assert_eq!(left(&[kept(&["app_g1", "app_g2"])]), [""; 0]);
    assert_eq!(left(&[kept(&["app_g4", "app_g2"])]), ["app_g1"]);
    assert_eq!(
        left(&[kept(&["app_g1"])]),
        [""; 0],
        "a newer one is not ours to close"
    );
}

#[tokio::test]
async fn what_is_half_there_is_completed() {
    let branch = Branch::shared().await;
    let group = unique("app");
    branch.login(&group).await;
    let mut owner = branch.owner().await;
    // As an operator of another version, or a person, may have left it.
    owner
        .execute(AssertSqlSafe(format!(
            "REVOKE {group} FROM {group}_g1; ALTER ROLE {group}_g1 NOLOGIN; ALTER ROLE {group}_g1 RESET role"
        )))
        .await
        .unwrap();
    assert_eq!(branch.login(&group).await, format!("{group}_g1"));
    let target = branch.target(&format!("{group}_g1"), &branch.password, &branch.database);
    let proof = proof::accepts(&target).await.unwrap().unwrap();
    assert_eq!(proof.role, group);
}

#[tokio::test]
async fn a_group_never_carries_rights_of_its_own() {
    let branch = Branch::shared().await;
    let mut owner = branch.owner().await;
    let (app, plain) = (unique("app"), unique("plain"));
    let login = branch.login(&app).await;
    branch.as_superuser(&format!("CREATE ROLE {plain}")).await;
    branch
        .as_superuser(&format!("CREATE DATABASE {plain} OWNER {plain}"))
        .await;
    for group in [&branch.owner, "neon_superuser", "postgres", &plain, &login] {
        let login = unique("login");
        let error = roles::ensure_login(&mut owner, &wanted(group, &login, "x"))
            .await
            .unwrap_err();
        assert_eq!(error.class, Class::Invalid, "{group}: {error}");
        assert!(error.to_string().contains("choose another name"), "{error}");
        assert_eq!(fact(&mut owner, &login).await, None, "{group}");
    }
}

#[tokio::test]
async fn what_nobody_could_log_in_with_is_refused() {
    let branch = Branch::shared().await;
    let mut owner = branch.owner().await;
    let group = unique("app");
    let login = format!("{group}_g1");
    let long = "x".repeat(64);
    for (group, login, password) in [
        (group.as_str(), login.as_str(), ""),
        (&group, &login, "from a file\n"),
        (&group, &login, "zero\0byte"),
        ("", "_g1", "x"),
        ("a\nb", "a\nb_g1", "x"),
        ("a,b", "a,b_g1", "x"),
        (&group, &long, "x"),
    ] {
        let error = roles::ensure_login(&mut owner, &wanted(group, login, password))
            .await
            .unwrap_err();
        assert_eq!(error.class, Class::Invalid, "{error}");
        assert!(!error.to_string().contains("from a file"), "{error}");
        assert_eq!(fact(&mut owner, login).await, None);
    }
}

#[tokio::test]
async fn a_login_of_somebody_else_is_left_alone() {
    let branch = Branch::shared().await;
    let group = unique("app");
    let mut owner = branch.owner().await;
    let theirs = format!("{group}_g3");
    owner
        .execute(AssertSqlSafe(format!(
            "CREATE ROLE {theirs} LOGIN; COMMENT ON ROLE {theirs} IS 'the parent''s'"
        )))
        .await
        .unwrap();
    let facts = roles::list(&mut owner).await.unwrap();
    let choice = roles::next_login(&facts, &group, MARK);
    assert_eq!(choice.login, format!("{group}_g4"));
    assert!(!choice.exists);
    let before = fact(&mut owner, &theirs).await;
    let error = roles::ensure_login(&mut owner, &wanted(&group, &theirs, "x"))
        .await
        .unwrap_err();
    assert_eq!(error.class, Class::Conflict, "{error}");
    assert_eq!(fact(&mut owner, &theirs).await, before);
    assert_eq!(fact(&mut owner, &group).await, None, "nothing was made");
}

#[test]
fn logins_are_numbered_in_order() {
    let fact = |name: &str, mark: Option<&str>| RoleFact {
        name: name.to_owned(),
        can_login: true,
        superuser: false,
        api_role: false,
        mark: mark.map(str::to_owned),
        member_of: Vec::new(),
    };
    let login = |facts: &[RoleFact]| {
        let choice = roles::next_login(facts, "app", MARK);
        (choice.login, choice.exists)
    };
    let new = |name: &str| (name.to_owned(), false);
    let ours = |name: &str| (name.to_owned(), true);
    assert_eq!(login(&[]), new("app_g1"));
    assert_eq!(login(&[fact("app", None)]), new("app_g1"));
    assert_eq!(login(&[fact("app_g2", None)]), new("app_g3"));
    assert_eq!(login(&[fact("app_g2", Some("other"))]), new("app_g3"));
    assert_eq!(
        login(&[fact("app_g9", Some(MARK)), fact("app_g10", Some(MARK))]),
        ours("app_g10")
    );
    assert_eq!(
        login(&[fact("app_g1", Some(MARK)), fact("app_g2", None)]),
        ours("app_g1")
    );
    // Not logins of this group.
    for name in [
        "app_g", "app_g01", "app_g+1", "app_g0", "app_g1x", "app2_g7", "xapp_g7",
    ] {
        assert_eq!(login(&[fact(name, Some(MARK))]), new("app_g1"), "{name}");
    }
    let long = "x".repeat(58);
    let facts = [
        fact(&format!("{long}_g999"), None),
        fact(&format!("{long}_g1"), None),
    ];
    let choice = roles::next_login(&facts, &long, MARK);
    assert_eq!(choice.login, format!("{long}_g2"), "63 bytes at most");
    assert_eq!(login(&[fact("app_g4294967295", None)]), new("app_g1"));
}

/// Any name comes back as it was, and nothing else is made.
#[test]
fn any_name_is_made_exactly() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let branch = runtime.block_on(Branch::shared());
    let config = ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(name in any_name())| {
        let made = runtime.block_on(async {
            let mut owner = branch.owner().await;
            let login = branch.login(&name).await;
            let outcome = grants::apply(&mut owner, &grant(&name, Access::ReadOnly)).await;
            let facts = roles::list(&mut owner).await.unwrap();
            let target = branch.target(&login, &branch.password, &branch.database);
            let proof = proof::accepts(&target).await;
            for role in [&login, &name] {
                let quoted = format!("\"{}\"", role.replace('"', "\"\""));
                let drop = format!("DROP OWNED BY {quoted}; DROP ROLE {quoted}");
                branch.as_superuser(&drop).await;
            }
            (login, outcome, facts, proof)
        });
        let (login, outcome, facts, proof) = made;
        let fact = |name: &str| facts.iter().find(|fact| fact.name == name).unwrap();
        prop_assert_eq!(&login, &format!("{name}_g1"));
        prop_assert_eq!(outcome, Ok(nothing_left()));
        prop_assert_eq!(&fact(&login).member_of, &vec![name.clone()]);
        prop_assert!(!fact(&name).can_login);
        prop_assert_eq!(proof, Ok(Some(Proof { login, role: name })));
    });
}

/// Up to 58 bytes, weighted towards what goes wrong in SQL.
fn any_name() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        prop::sample::select(vec![
            '"', '\'', '\\', ' ', '$', '%', ';', '-', '.', '=', '{', 'A', 'é', 'ß'
        ]),
        prop::char::ranges(vec!['!'..='~', 'à'..='ö', 'α'..='ω', '一'..='龥'].into()),
    ];
    prop::collection::vec(character, 1..30)
        .prop_map(|characters| {
            let mut name = String::new();
            for character in characters {
                if name.len() + character.len_utf8() <= 58 {
                    name.push(character);
                }
            }
            name
        })
        .prop_filter("reserved", |name| {
            !name.starts_with("pg_")
                && !name.contains(',')
                && !["public", "none"].contains(&name.as_str())
        })
}

async fn fact(connection: &mut PgConnection, name: &str) -> Option<RoleFact> {
    let facts = roles::list(connection).await.unwrap();
    facts.into_iter().find(|fact| fact.name == name)
}

/// The rows about a group and its logins that a second run must leave as they are, passwords aside.
async fn catalog(branch: &Branch, group: &str) -> Vec<String> {
    let mut connection = branch.superuser().await;
    let rows = connection
        .fetch_all(AssertSqlSafe(format!(
            "WITH r AS (SELECT * FROM pg_roles WHERE starts_with(rolname, '{group}'))
             SELECT t FROM (
                SELECT r::text FROM r
                UNION ALL SELECT m::text FROM pg_auth_members m JOIN r ON r.oid = m.member
                UNION ALL SELECT s::text FROM pg_db_role_setting s JOIN r ON r.oid = s.setrole
                UNION ALL SELECT d::text FROM pg_shdescription d JOIN r ON r.oid = d.objoid
             ) rows (t) ORDER BY t"
        )))
        .await
        .unwrap();
    connection.close().await.unwrap();
    assert_eq!(rows.len(), 5, "two roles, a membership, a setting, a mark");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_login_in_use_outlives_a_restore_of_its_branch() {
    let branch = Branch::shared().await;
    let group = unique("app");
    let login = branch.login(&group).await;
    let mut owner = branch.owner().await;
    let mut session = branch.session(&login, &branch.password).await;
    let kept = [Kept {
        group: group.clone(),
        logins: vec![login.clone()],
    }];
    let after = format!("{MARK}-restored");
    retire::take_along(&mut owner, &after, &kept).await.unwrap();
    retire::close_leftovers(&mut owner, &after, &kept)
        .await
        .unwrap();
    works(&mut session, &["SELECT 1"]).await;
    let facts = roles::list(&mut owner).await.unwrap();
    let now = roles::login_to_use(&facts, &group, &after, Some(&login));
    assert_eq!(now, login);
}
