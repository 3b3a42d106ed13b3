//! What people are told beside an error: where the remedy lies outside of the database.

use crate::{A, C, Checkout, Ran};

impl Checkout {
    /// Runs the program as a role that may log in, and nothing else.
    async fn run_as_guest(&self, arguments: &[&str]) -> Ran {
        let database = &self.world.database;
        let guest = format!("{}_guest", database.name);
        let role = format!("CREATE ROLE {guest} LOGIN PASSWORD 'guest-pw'");
        let exists = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{guest}'");
        if self.world.one(&exists).await == "0" {
            self.world.execute(&role).await;
        }
        let login = format!("{}:{}@", database.owner, database.owner_password);
        let url = self.url().replace(&login, &format!("{guest}:guest-pw@"));
        let mut command = self.command(arguments);
        Ran::of(command.env("DATABASE_URL", url).output().unwrap())
    }
}

#[tokio::test]
async fn whoever_may_not_is_told_as_whom_to_log_in() {
    let checkout = Checkout::new(&[A, C]).await;
    assert_eq!(checkout.run(&["migrate", "up", "--target", A.0]).code, 0);
    let name = checkout.world.database.name.clone();
    for arguments in [
        &["migrate", "status"][..],
        &["migrate", "up"],
        &["migrate", "mark", C.0],
        &["migrate", "baseline", C.0],
        &["migrate", "reset", &name],
    ] {
        let ran = checkout.run_as_guest(arguments).await;
        assert_eq!(ran.code, 1, "{arguments:?}: {ran:?}");
        for part in ["SQLSTATE 42501", "log in as the role that owns"] {
            assert!(ran.err.contains(part), "{part}: {arguments:?}: {ran:?}");
        }
    }
    assert_eq!(checkout.world.versions().await, [A.0]);
    assert_eq!(checkout.world.tables().await, "a");
}

#[tokio::test]
async fn a_role_that_cannot_migrate_fails_where_that_is_asked() {
    let checkout = Checkout::new(&[]).await;
    let may = checkout.run(&["validate", "--migrate"]);
    assert_eq!(may.code, 0, "{may:?}");
    let uses = checkout.run_as_guest(&["validate"]).await;
    assert_eq!(uses.code, 0, "{uses:?}");
    assert!(uses.out.contains("! privileges: "), "{uses:?}");
    let migrates = checkout.run_as_guest(&["validate", "--migrate"]).await;
    assert_eq!(migrates.code, 1, "{migrates:?}");
    assert!(migrates.out.contains("✗ privileges: "), "{migrates:?}");
}

#[tokio::test]
async fn an_unknown_authority_is_told_with_where_to_name_it() {
    let checkout = Checkout::new(&[A]).await;
    let url = checkout.url();
    let (url, _) = url.split_once("&sslrootcert").unwrap();
    for arguments in [&["migrate", "status"][..], &["validate"]] {
        let mut command = checkout.command(arguments);
        let ran = Ran::of(command.env("DATABASE_URL", url).output().unwrap());
        assert_eq!(ran.code, 1, "{ran:?}");
        let told = [ran.out.as_str(), &ran.err].concat();
        for part in ["certificate is not trusted", "PGSSLROOTCERT"] {
            assert!(told.contains(part), "{part}: {ran:?}");
        }
    }
}

#[tokio::test]
async fn a_folder_without_files_is_taken_for_a_mistake() {
    let checkout = Checkout::new(&[]).await;
    for command in ["status", "plan", "up"] {
        let ran = checkout.run(&["migrate", command]);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(
            ran.err.contains("no file in migrations ends in .sql"),
            "{ran:?}"
        );
    }
}
