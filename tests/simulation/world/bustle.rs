//! A process under load, as the runtime runs it: passes side by side, so many at a time and in the order in which they
//! were due, while time flows and the account's budget is kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;
use sepulki::reconcile::{Admission, Verdict};
use tokio::time::sleep;

use super::agenda::Uid;
use super::operator::{Operator, Turn};

/// How many passes run at a time, as the operator does it unless it is told otherwise.
const AT_A_TIME: usize = 32;

/// Passes that run or wait for their turn.
struct Running {
    admission: Admission,
    passes: FuturesUnordered<BoxFuture<'static, (Uid, Option<Turn>)>>,
    busy: BTreeSet<Uid>,
    /// Who was due again meanwhile.
    again: BTreeSet<Uid>,
}

impl Operator {
    /// Runs passes until all of these were found as asked; answers when each was first, in that order.
    pub async fn bustle(&mut self, awaited: &[Uid]) -> Vec<(Uid, Timestamp)> {
        let mut awaited: BTreeSet<&Uid> = awaited.iter().collect();
        let mut settled = Vec::new();
        let mut running = Running {
            admission: Admission::new(AT_A_TIME),
            passes: FuturesUnordered::new(),
            busy: BTreeSet::new(),
            again: BTreeSet::new(),
        };
        while !awaited.is_empty() {
            self.admit(&mut running);
            let next = self.process.agenda.next();
            let wait = next.map(|at| at.duration_since(self.sim.now()));
            let wait = wait.and_then(|wait| wait.try_into().ok());
            tokio::select! {
                Some((uid, turn)) = running.passes.next() => {
                    let is_settled = |turn: &Turn| matches!(turn.verdict, Verdict::Settled(_));
                    if turn.as_ref().is_some_and(is_settled) && awaited.remove(&uid) {
                        settled.push((uid.clone(), self.sim.now()));
                    }
                    self.ended(&mut running, &uid, turn);
                }
                () = sleep(wait.unwrap_or_default()), if next.is_some() => {}
            }
        }
        settled
    }

    /// Queues a pass for everybody who is due and has none yet.
    fn admit(&mut self, running: &mut Running) {
        for uid in self.look_around() {
            self.process.agenda.remove(&uid);
            if !running.busy.insert(uid.clone()) {
                running.again.insert(uid);
                continue;
            }
            let (sim, kinds) = (Arc::clone(&self.sim), Arc::clone(&self.process.kinds));
            let place = self.process.places.get(&uid).cloned();
            let admission = running.admission.clone();
            running.passes.push(Box::pin(async move {
                let _permit = admission.enter().await;
                let turn = match place {
                    Some(place) => kinds.pass(&sim, &place).await,
                    None => None,
                };
                (uid, turn)
            }));
        }
    }

    fn ended(&mut self, running: &mut Running, uid: &str, turn: Option<Turn>) {
        running.busy.remove(uid);
        self.over(vec![(uid.to_owned(), turn)]);
        if running.again.remove(uid) {
            let now = self.sim.now();
            self.process.agenda.put(uid, now);
        }
    }
}
