//! A file that was interrupted where nobody can know how far it came: `status`, `plan` and `up` say the same of it.

use crate::{A, ASLEEP, Checkout};

#[tokio::test]
async fn what_somebody_has_to_decide_is_in_the_way() {
    let block = "DO $$ BEGIN COMMIT; PERFORM pg_sleep(60); END $$;\n";
    let checkout = Checkout::new(&[A, ("002_b.sql", block)]).await;
    let mut child = checkout.up_asleep().await;
    child.kill().unwrap();
    child.wait().unwrap();
    checkout
        .world
        .execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'")
        .await;
    checkout.world.until(ASLEEP, "0").await;
    for command in ["status", "plan"] {
        let ran = checkout.run(&["migrate", command]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.out.contains("✗ 002_b.sql:1: an earlier run"), "{ran:?}");
        let json = checkout.run(&["migrate", command, "-o", "json"]).json();
        assert_eq!(json["problems"][0]["blocks"], true, "{json}");
        let decided = checkout.run(&["migrate", command, "--on-ambiguous", "Skip"]);
        assert_eq!(decided.code, 3, "{decided:?}");
        assert!(
            decided.out.contains("! 002_b.sql:1: an earlier"),
            "{decided:?}"
        );
    }
    let up = checkout.run(&["migrate", "up", "-o", "json"]);
    assert_eq!(up.code, 1, "{up:?}");
    assert_eq!(up.json()["error"]["kind"], "Ambiguous", "{up:?}");
    let skipped = checkout.run(&["migrate", "up", "--on-ambiguous", "Skip"]);
    assert_eq!(skipped.code, 0, "{skipped:?}");
    assert_eq!(checkout.run(&["migrate", "status"]).code, 0);
}
