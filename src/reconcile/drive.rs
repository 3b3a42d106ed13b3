//! One pass over one object: the loop itself.

use jiff::Timestamp;

use super::{Action as _, Decision, Error, Pass, PassReport, Subject, Verdict};

/// More steps than any honest convergence needs; a pass that uses them up is going in circles.
const STEP_BUDGET: usize = 128;

/// Runs one pass: observes, decides and acts until there is nothing more to do at once, then writes the status.
///
/// With `tolerate_failure` a failure that passes by itself leaves the status alone, so that a short outage of something
/// that is not even used does not make a working database look broken.
pub async fn drive<S: Subject>(
    subject: &S,
    object: S::Object,
    clock: impl Fn() -> Timestamp + Send + Sync,
    tolerate_failure: bool,
) -> (Pass<S>, PassReport) {
    let status = S::status(&object);
    let mut pass = Pass {
        object,
        status,
        notices: Vec::new(),
    };
    let mut actions = Vec::new();
    let mut observed = None;
    let mut verdict = None;
    for _ in 0..STEP_BUDGET {
        match step(subject, &mut pass, &mut observed, &mut actions, &clock).await {
            Ok(None) => {}
            Ok(Some(end)) => {
                verdict = Some(end);
                break;
            }
            Err(error) => {
                verdict = Some(Verdict::Failed(error));
                break;
            }
        }
    }
    let mut verdict = verdict.unwrap_or_else(|| {
        Verdict::Failed(Error::bug(format!(
            "no end after {STEP_BUDGET} steps, the last of them {:?}",
            actions.last()
        )))
    });
    let leave =
        matches!(&verdict, Verdict::Failed(e) if tolerate_failure && !e.class.is_terminal());
    if !leave && verdict != Verdict::Gone {
        let desired = subject.desired(&pass.object);
        let status = S::project(&pass, &desired, observed.as_ref(), &verdict, clock());
        if let Err(error) = write(subject, &mut pass, status).await {
            // what failed first is the better story, unless everything else went well
            if !matches!(verdict, Verdict::Failed(_)) {
                verdict = Verdict::Failed(error);
            }
        }
    }
    (pass, PassReport { verdict, actions })
}

/// One turn of the loop; `Some` ends the pass.
async fn step<S: Subject>(
    subject: &S,
    pass: &mut Pass<S>,
    observed: &mut Option<S::Observed>,
    actions: &mut Vec<&'static str>,
    clock: &(impl Fn() -> Timestamp + Send + Sync),
) -> Result<Option<Verdict>, Error> {
    // parsed anew each turn: an action may have changed the object
    let desired = &subject.desired(&pass.object);
    let facts = subject.observe(pass, desired, clock()).await?;
    let facts = observed.insert(facts);
    let action = match S::decide(desired, facts, clock()) {
        Decision::Act(action) => action,
        Decision::Wait(wait) => return Ok(Some(Verdict::Waiting(wait))),
        Decision::Settled(recheck) => return Ok(Some(Verdict::Settled(recheck))),
        Decision::Suspended(recheck) => return Ok(Some(Verdict::Suspended(recheck))),
        Decision::Blocked(block) => return Ok(Some(Verdict::Blocked(block))),
        Decision::Gone => return Ok(Some(Verdict::Gone)),
    };
    actions.push(action.name());
    let recorded = pass.status.clone();
    let done = subject.act(&action, pass, desired, facts, clock()).await;
    if pass.status != recorded {
        // what the action recorded is written before anything else is done, even where the action then failed
        let verdict = Verdict::Acting(action.describe());
        let status = S::project(pass, desired, Some(facts), &verdict, clock());
        pass.status = recorded;
        write(subject, pass, status).await?;
    }
    done.map(|()| None)
}

async fn write<S: Subject>(
    subject: &S,
    pass: &mut Pass<S>,
    status: S::Status,
) -> Result<(), Error> {
    if status == S::status(&pass.object) {
        pass.status = status;
        return Ok(());
    }
    pass.object = subject.write_status(&pass.object, &status).await?;
    pass.status = status;
    Ok(())
}
