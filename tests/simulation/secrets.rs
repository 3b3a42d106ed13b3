//! What becomes of the Secrets of an object when one of them is in trouble.

use jiff::SignedDuration;
use sepulki::api::Reason;
use serde_json::json;

use crate::database::{condition, database, says, stalled};
use crate::invariants::check;
use crate::scene::{inside, simple, with};
use crate::world::operator::Operator;
use crate::world::{NAMESPACE, Sim};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn two_secrets_of_a_role() -> serde_json::Value {
    with(
        simple(),
        json!({"connectionSecrets": [{"name": "taken"}, {"name": "other"}]}),
    )
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_keeps_no_other_secret_back() {
    let sim = Sim::new();
    sim.database("production", "production", inside("production"));
    sim.database("it", "staging", two_secrets_of_a_role());
    for name in ["production-web", "taken"] {
        let mut state = sim.lock();
        let kubernetes = &mut state.kubernetes;
        kubernetes.foreign_secret(NAMESPACE, name, &[("mine", "x")]);
    }
    let mut operator = Operator::new(&sim);
    operator.run_for(MINUTE * 3).await;
    // others of the same role, and others of other roles
    for (object, taken, others) in [
        ("it", "taken", ["other"].as_slice()),
        (
            "production",
            "production-web",
            &[
                "production-web-jobs",
                "production-worker",
                "production-report",
            ],
        ),
    ] {
        let told = stalled(&database(&operator, object), Reason::SecretConflict);
        says(&told, &[taken]);
        let (out, _, _) = condition(&database(&operator, object), "CredentialsPublished");
        assert!(!out);
        assert_eq!(sim.secret(taken).unwrap().len(), 1);
        for other in others {
            assert!(sim.secret(other).is_some(), "{other}");
        }
    }
    // they are repaired as well, and nothing is written again and again
    let published = sim.secret("other").unwrap();
    sim.edit_secret("other", "PGHOST", "elsewhere");
    operator.run_for(MINUTE * 12).await;
    assert_eq!(sim.secret("other").unwrap(), published);
    let sessions = sim.lock().sessions;
    operator.run_for(MINUTE * 30).await;
    assert_eq!(sim.lock().sessions, sessions);

    for name in ["production-web", "taken"] {
        let key = (NAMESPACE.to_owned(), name.to_owned());
        sim.lock().kubernetes.secrets.remove(&key);
    }
    operator.run_for(MINUTE * 3).await;
    operator.settle().await;
    assert_eq!(
        sim.secret("taken").unwrap()["PGPASSWORD"],
        published["PGPASSWORD"]
    );
    check(&sim, &[]);
}
