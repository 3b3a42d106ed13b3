//! Extensions, on a real server.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod postgres_support;

use postgres_support::{Branch, sqlstate, unique, works};
use sepulki::postgres::extensions::{Available, Installed, Wanted, ensure, steps};
use sepulki::postgres::{Class, Error};
use sqlx::PgConnection;

fn wanted(name: &str) -> Wanted {
    Wanted {
        name: name.to_owned(),
        ..Wanted::default()
    }
}

fn in_version(name: &str, version: &str) -> Wanted {
    Wanted {
        version: Some(version.to_owned()),
        ..wanted(name)
    }
}

fn in_schema(name: &str, schema: &str) -> Wanted {
    Wanted {
        schema: Some(schema.to_owned()),
        ..wanted(name)
    }
}

async fn one(owner: &mut PgConnection, wanted: Wanted) -> Result<Installed, Error> {
    let found = ensure(owner, &[wanted]).await?;
    Ok(found.into_iter().next().unwrap())
}

#[tokio::test]
async fn they_are_installed_once_and_wrong_names_explained() {
    let branch = Branch::shared().await;
    let mut owner = branch.owner().await;
    let error = ensure(&mut owner, &[wanted("pg_trgm"), wanted("pgcripto")])
        .await
        .unwrap_err();
    assert_eq!(error.class, Class::Invalid);
    assert_eq!(
        error.to_string(),
        "the server has no extension \"pgcripto\"; similar names it has: pgcrypto"
    );
    let error = one(&mut owner, wanted("uuid_ossp")).await.unwrap_err();
    assert!(error.to_string().ends_with("has: uuid-ossp"), "{error}");
    let error = one(&mut owner, wanted("x; DROP TABLE t"))
        .await
        .unwrap_err();
    let error = error.to_string();
    assert!(error.contains("pg_available_extensions"), "{error}");
    assert_eq!(
        sqlstate(&mut owner, "SELECT similarity('a', 'b')").await,
        "42883",
        "nothing was installed beside a wrong name"
    );

    let both = [wanted("uuid-ossp"), wanted("pgcrypto")];
    let first = ensure(&mut owner, &both).await.unwrap();
    assert_eq!(first.len(), 2);
    assert_eq!(
        (first[0].name.as_str(), first[0].schema.as_str()),
        ("uuid-ossp", "public")
    );
    assert!(first.iter().all(|one| !one.version.is_empty()));
    assert_eq!(ensure(&mut owner, &both).await, Ok(first));
    works(&mut owner, &["SELECT public.uuid_generate_v4()"]).await;

    let error = one(&mut owner, wanted("pg_buffercache")).await.unwrap_err();
    assert_eq!(error.class, Class::Denied, "{error}");
}

#[tokio::test]
async fn a_version_is_installed_and_later_changed_only_where_it_is_asked_for() {
    let branch = Branch::shared().await;
    let mut owner = branch.owner().await;
    let error = one(&mut owner, in_version("citext", "9.9"))
        .await
        .unwrap_err();
    assert_eq!(error.class, Class::Invalid);
    let begins = "the server has no version 9.9 of the extension citext; it has: ";
    assert!(error.to_string().starts_with(begins), "{error}");
    assert!(error.to_string().contains("1.4, 1.5"), "{error}");

    let old = one(&mut owner, in_version("citext", "1.4")).await.unwrap();
    assert_eq!(old.version, "1.4");
    assert_eq!(one(&mut owner, wanted("citext")).await, Ok(old));
    let new = one(&mut owner, in_version("citext", "1.5")).await.unwrap();
    assert_eq!(new.version, "1.5");
    works(&mut owner, &["SELECT 'a'::public.citext = 'A'"]).await;

    let error = one(&mut owner, in_version("citext", "1.4"))
        .await
        .unwrap_err();
    assert_eq!(error.class, Class::Invalid);
    assert!(error.to_string().contains("no update path"), "{error}");
    let beside = [in_version("citext", "1.6"), wanted("no_such_extension")];
    ensure(&mut owner, &beside).await.unwrap_err();
    assert_eq!(one(&mut owner, wanted("citext")).await, Ok(new));
}

#[tokio::test]
async fn a_schema_is_made_for_it_and_never_changed() {
    let branch = Branch::shared().await;
    let mut owner = branch.owner().await;
    let schema = unique("Odd \"Schema");
    let found = one(&mut owner, in_schema("pg_trgm", &schema))
        .await
        .unwrap();
    assert_eq!(found.schema, schema);
    let elsewhere = one(&mut owner, in_schema("pg_trgm", "public")).await;
    assert_eq!(elsewhere, Ok(found));
    let there = one(&mut owner, in_schema("hstore", &schema)).await.unwrap();
    assert_eq!(there.schema, schema);
    let error = one(&mut owner, in_schema("citext", "pg_mine"))
        .await
        .unwrap_err();
    assert_eq!(error.class, Class::Invalid, "{error}");
}

#[test]
fn one_that_leaves_no_choice_of_schema_says_so() {
    let fixed = |version: &str, is_default| Available {
        name: "fixed".to_owned(),
        version: version.to_owned(),
        is_default,
        schema: Some("its_own".to_owned()),
    };
    let available = [fixed("1.0", false), fixed("2.0", true)];
    let error = steps(&[in_schema("fixed", "mine")], &available, &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the extension fixed can only be in the schema its_own, not in mine"
    );
    for wanted in [wanted("fixed"), in_schema("fixed", "its_own")] {
        let steps = steps(&[wanted], &available, &[]).unwrap();
        assert!(format!("{steps:?}").contains("schema: None"), "{steps:?}");
    }
    let installed = Installed {
        name: "fixed".to_owned(),
        version: "1.0".to_owned(),
        schema: "its_own".to_owned(),
    };
    assert_eq!(
        steps(&[in_schema("fixed", "mine")], &[], &[installed]),
        Ok(Vec::new())
    );
}
