//! Connections that lead by way of a pooler, and those that libpq's variables complete.

use crate::{
    A, Checkout, Ran,
    engine_support::relay::{Relay, Startup},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_is_known_by_what_it_does() {
    let checkout = Checkout::new(&[A]).await;
    let (user, name) = (&checkout.world.server.user, &checkout.world.database.name);
    for startup in [Startup::Pooler, Startup::DropOptions] {
        let relay = Relay::start(checkout.world.socket(), startup).await;
        let url = format!("postgresql://{user}@127.0.0.1:{}/{name}", relay.port);
        let run = |arguments: &[&str]| {
            let mut command = checkout.command(arguments);
            Ran::of(command.env("DATABASE_URL", &url).output().unwrap())
        };
        let validate = run(&["validate"]);
        assert_eq!(validate.code, 0, "{validate:?}");
        for line in ["! endpoint: pooled", "✓ version: PostgreSQL ", "✓ clock: "] {
            assert!(validate.out.contains(line), "{line}: {validate:?}");
        }
        let migrates = run(&["validate", "--migrate"]);
        assert_eq!(migrates.code, 1, "{migrates:?}");
        assert!(migrates.out.contains("✗ endpoint: pooled"), "{migrates:?}");
        let up = run(&["migrate", "up"]);
        assert_eq!(up.code, 1, "{up:?}");
        assert!(
            up.err.contains("help: put the URL of the server itself"),
            "{up:?}"
        );
    }
}

#[tokio::test]
async fn what_a_url_lacks_is_in_the_environment() {
    let checkout = Checkout::new(&[A]).await;
    let (server, database) = (checkout.world.server, &checkout.world.database);
    let run = |arguments: &[&str], more: Option<(&str, &str)>| {
        let mut command = checkout.command(arguments);
        command
            .env("DATABASE_URL", format!("postgresql://{}", server.host))
            .env("PGPORT", server.port.to_string())
            .env("PGUSER", &database.owner)
            .env("PGPASSWORD", &database.owner_password)
            .env("PGDATABASE", &database.name)
            .env("PGSSLMODE", "verify-full")
            .env("PGSSLROOTCERT", &server.ca_file)
            .envs(more);
        Ran::of(command.output().unwrap())
    };
    for arguments in [&["validate"][..], &["migrate", "up"]] {
        let ran = run(arguments, None);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    assert_eq!(checkout.world.tables().await, "a");
    let refused = run(&["migrate", "status"], Some(("PGOPTIONS", "-c x.y=z")));
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("PGOPTIONS"), "{refused:?}");
}

#[tokio::test]
async fn an_endpoint_that_takes_no_changes_is_told_with_the_right_one() {
    let checkout = Checkout::new(&[A]).await;
    let name = &checkout.world.database.name;
    let set = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    checkout.world.execute(&set).await;
    let ran = checkout.run(&["migrate", "up"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.err.contains("help: take default_transaction_read_only"),
        "{ran:?}"
    );
    let slow = ("002_b.sql", "SELECT pg_sleep(30);\n");
    let checkout = Checkout::new(&[A, slow]).await;
    let ran = checkout.run(&["migrate", "up", "--deadline", "1s"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("--deadline gives it longer"), "{ran:?}");
}
