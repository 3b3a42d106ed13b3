//! Logins that are out and that somebody has changed by SQL, of which nobody tells the operator.

use jiff::SignedDuration;
use sepulki::api::{RECONCILE, Reason};

use crate::database::{database, events, reconciling, says};
use crate::given::{GIVEN, give, with_given_password};
use crate::invariants::check;
use crate::scene::{settled, simple};
use crate::secrets::opens;
use crate::world::operator::Operator;
use crate::world::postgres::Server;
use crate::world::{NAMESPACE, Sim};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

const HOUR: SignedDuration = SignedDuration::from_hours(1);

const LOGIN: &str = "web_g1";

async fn begin() -> Operator {
    settled(|sim| sim.database("it", "production", simple())).await
}

/// What somebody does to the server of the object.
fn by_hand(sim: &Sim, change: impl FnOnce(&mut Server)) {
    sim.at_neon(|project, _| change(&mut project.branches[0].server));
}

fn dropped(server: &mut Server) {
    server.roles.remove(LOGIN);
}

fn given_another_password(server: &mut Server) {
    server.roles.get_mut(LOGIN).unwrap().password = Some("another".into());
}

fn closed(server: &mut Server) {
    server.roles.get_mut(LOGIN).unwrap().login = false;
}

fn out_of_its_role(server: &mut Server) {
    server.roles.get_mut(LOGIN).unwrap().member_of.clear();
}

#[tokio::test(start_paused = true)]
async fn a_login_that_was_changed_by_hand_works_again_once_somebody_asks() {
    let changes: [fn(&mut Server); 4] = [dropped, given_another_password, closed, out_of_its_role];
    for change in changes {
        let mut operator = begin().await;
        let sim = operator.sim.clone();
        let (before, sessions) = (sim.secret("it").unwrap(), sim.lock().sessions);
        by_hand(&sim, change);
        operator.run_for(HOUR).await;
        assert_eq!(sim.lock().sessions, sessions, "looked for at rest");
        assert!(!opens(&sim, &before));

        sim.annotate_database("it", RECONCILE, "somebody was here");
        operator.settle().await;
        assert_eq!(sim.secret("it").unwrap(), before);
        assert!(opens(&sim, &before));
        check(&sim, &[]);
        let told = events(&sim, "LoginRestored");
        assert_eq!(told.len(), 1, "{told:?}");
        says(&told[0], &[LOGIN, "works again"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_was_changed_works_again_once_the_spec_changes() {
    let mut operator = begin().await;
    let sim = operator.sim.clone();
    let before = sim.secret("it").unwrap();
    by_hand(&sim, given_another_password);
    sim.edit_database("it", |object| {
        object.spec.roles[0].connection_limit = Some(7);
    });
    operator.settle().await;
    assert_eq!(sim.secret("it").unwrap(), before);
    assert!(opens(&sim, &before));
    check(&sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_somebody_elses_by_now_is_left_to_them() {
    let mut operator = begin().await;
    let sim = operator.sim.clone();
    by_hand(&sim, |server| {
        given_another_password(server);
        server.roles.get_mut(LOGIN).unwrap().mark = None;
    });
    sim.annotate_database("it", RECONCILE, "1");
    operator.settle().await;
    let after = sim.secret("it").unwrap();
    assert_eq!(after["PGUSER"], "web_g2");
    assert!(opens(&sim, &after));
    let told = events(&sim, "LoginRestored");
    says(&told[0], &[LOGIN, "another one's", "web_g2"]);
    let kept = sim.at_neon(|project, _| project.branches[0].server.roles[LOGIN].clone());
    assert_eq!(kept.password.as_deref(), Some("another"));
}

#[tokio::test(start_paused = true)]
async fn a_login_with_a_password_that_is_missing_waits_for_it() {
    let sim = Sim::new();
    give(&sim, GIVEN);
    sim.database("it", "production", with_given_password());
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    let before = sim.secret("it").unwrap();
    by_hand(&sim, given_another_password);
    let key = (NAMESPACE.to_owned(), "db-password".to_owned());
    sim.lock().kubernetes.secrets.remove(&key).unwrap();
    // long enough that it is not remembered as just read
    operator.run_for(MINUTE * 2).await;
    sim.annotate_database("it", RECONCILE, "1");
    operator.run_for(MINUTE * 2).await;
    reconciling(&database(&operator, "it"), Reason::PasswordNotFound);

    give(&sim, GIVEN);
    operator.run_for(MINUTE * 2).await;
    sim.annotate_database("it", RECONCILE, "2");
    operator.settle().await;
    assert_eq!(sim.secret("it").unwrap(), before);
    assert!(opens(&sim, &before));
    check(&sim, &[]);
}
