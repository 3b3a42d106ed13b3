//! A fault at every effect: whatever fails, is not answered, is told late, kills the operator or holds it up until another
//! one has done its work, the end is the same.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use jiff::SignedDuration;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::scene::settled;
use crate::stories::{BY_ANNOTATION, EVERYTHING, STORIES, Story};
use crate::world::Sim;
use crate::world::faults::{Effect, Fault};
use crate::world::operator::Operator;
use crate::world::trouble::NO_START;

/// Pairs of faults that are tried at random, if `PAIRS` does not say otherwise.
const PAIRS: u64 = 3000;

/// After so many pairs a long run says that it goes on.
const PROGRESS: u64 = 1000;

/// A story up to its change.
struct Told {
    story: Story,
    before: Arc<Sim>,
}

impl Told {
    async fn of(story: Story) -> Self {
        let operator = settled(story.before).await;
        Self {
            story,
            before: operator.sim.fork(),
        }
    }

    /// Tells the rest, with something going wrong.
    async fn with(&self, what: &str, plan: impl FnOnce(&Sim)) -> Operator {
        let panicking = Panicking(format!("{}, {what}", self.story.name));
        let mut operator = Operator::new(&self.before.fork());
        // the process knows what it knew when the world had come to rest
        operator.settle().await;
        let sim = Arc::clone(&operator.sim);
        sim.faults.restart();
        plan(&sim);
        (self.story.change)(&sim);
        let noticed = SignedDuration::from_mins(self.story.noticed);
        come_to_rest(&mut operator, noticed).await;
        (self.story.check)(&operator);
        drop(panicking);
        operator
    }

    /// Tells the rest while all operations of these changes fail, for an hour, in this way.
    async fn with_an_hour_of(&self, verb: &str, fault: Fault) {
        let what = format!("{fault:?} of {verb} for an hour");
        let panicking = Panicking(format!("{}, {what}", self.story.name));
        let mut operator = Operator::new(&self.before.fork());
        operator.settle().await;
        let sim = Arc::clone(&operator.sim);
        sim.faults.restart();
        sim.at_neon(|project, _| project.fails = Some((verb.to_owned(), fault)));
        let before = sim.lock().neon.calls.mutations.len();
        (self.story.change)(&sim);
        operator.run_for(SignedDuration::from_hours(1)).await;

        let mutations = sim.lock().neon.calls.mutations.split_off(before);
        let failed: Vec<&String> = mutations.iter().filter(|m| m.starts_with(verb)).collect();
        let things = failed.iter().collect::<BTreeSet<_>>().len();
        let last = operator.story(20);
        assert!(failed.len() <= MOST_TRIES * things, "{failed:?}\n{last}");
        // what was made and cannot be used is taken away before each try
        let most = 2 * MOST_TRIES * things + MOST_TRIES;
        assert!(mutations.len() <= most, "{mutations:?}\n{last}");
        // where everything is as it should be although an operation failed, there is nothing to tell
        let again = failed.len() > things;
        assert!(!again || sim.lock().said.contains(NO_START), "{last}");

        sim.at_neon(|project, _| project.fails = None);
        come_to_rest(
            &mut operator,
            SignedDuration::from_mins(self.story.noticed + 5),
        )
        .await;
        // what somebody asks for by an annotation is no longer done after an hour
        if self.story.name != BY_ANNOTATION || verb != "reset branch" {
            (self.story.check)(&operator);
        }
        drop(panicking);
    }

    /// Tells the rest with an operator that is held up at an effect, as one is that has lost its lease and does not know
    /// it yet. Another one takes over and comes to rest; then the first one goes on where it was.
    async fn with_two(&self, number: usize, effect: &str) {
        let panicking = Panicking(format!(
            "{}, held up at effect {number}: {effect}",
            self.story.name
        ));
        let mut one = Operator::new(&self.before.fork());
        one.settle().await;
        let sim = Arc::clone(&one.sim);
        sim.faults.restart();
        sim.faults.plan(number, Fault::HeldUp);
        (self.story.change)(&sim);
        let mut two = Operator::new(&sim);
        let noticed = SignedDuration::from_mins(self.story.noticed);
        {
            let mut first = pin!(come_to_rest(&mut one, noticed));
            tokio::select! {
                biased;
                () = sim.faults.held_up() => {}
                () = &mut first => panic!("effect {number} did not come"),
            }
            // not until it comes to rest: it waits for what the first one holds
            two.run_for(noticed + SignedDuration::from_mins(5)).await;
            sim.faults.go_on();
            first.await;
        }
        come_to_rest(&mut two, noticed).await;
        two.passes.append(&mut one.passes);
        (self.story.check)(&two);
        drop(panicking);
    }
}

/// Until nothing is left to do, also of what is only noticed after a while.
async fn come_to_rest(operator: &mut Operator, noticed: SignedDuration) {
    operator.settle().await;
    operator.run_for(noticed).await;
    operator.settle().await;
}

/// Says what was going on when a test panics.
struct Panicking(String);

impl Drop for Panicking {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in the story: {}", self.0);
        }
    }
}

#[test]
fn every_effect_goes_wrong_in_every_way() {
    let cases = AtomicUsize::new(0);
    let next = AtomicUsize::new(0);
    in_parallel(async || {
        while let Some(story) = STORIES.get(next.fetch_add(1, Ordering::Relaxed)) {
            let told = Told::of(*story).await;
            let effects = told
                .with("undisturbed", |_| ())
                .await
                .sim
                .faults
                .boundaries();
            let mut of_this = 0;
            for (number, effect) in (1..).zip(&effects) {
                for fault in effect.faults() {
                    let what = format!("{fault:?} at effect {number}: {}", effect.what);
                    told.with(&what, |sim| sim.faults.plan(number, fault)).await;
                    of_this += 1;
                }
            }
            println!("{}: {} effects, {of_this} cases", story.name, effects.len());
            cases.fetch_add(of_this, Ordering::Relaxed);
        }
    });
    let cases = cases.into_inner();
    println!("{cases} cases");
    assert!(cases > 1400, "{cases} cases");
}

/// Of all environments: what is not disposable has to come up again, too, as long as nobody has used it.
#[tokio::test(start_paused = true)]
async fn a_branch_that_neon_could_not_make_is_asked_for_again() {
    let told = Told::of(EVERYTHING).await;
    let effects = told.with("undisturbed", |_| ()).await.sim.faults.effects();
    let mut made = BTreeSet::new();
    for (number, effect) in (1..).zip(&effects) {
        if effect.contains("create branch") {
            let what = format!("undone: {effect}");
            let undo = |sim: &Sim| sim.faults.plan(number, Fault::OperationUndone);
            told.with(&what, undo).await;
            made.insert(effect);
        }
    }
    assert_eq!(made.len(), 3, "{effects:?}");
}

/// What is asked for again in this time is asked for again every minute, and sooner at first.
const MOST_TRIES: usize = 90;

#[test]
fn whatever_neon_works_on_fails_for_an_hour_and_is_asked_for_with_patience() {
    let (cases, next) = (AtomicUsize::new(0), AtomicUsize::new(0));
    in_parallel(async || {
        while let Some(story) = STORIES.get(next.fetch_add(1, Ordering::Relaxed)) {
            let told = Told::of(*story).await;
            let undisturbed = told.with("undisturbed", |_| ()).await;
            let mut tried = BTreeSet::new();
            for effect in undisturbed.sim.faults.boundaries() {
                let verb: Vec<&str> = effect.what.split(' ').take(2).collect();
                for fault in [Fault::OperationUndone, Fault::OperationGivenUp] {
                    let can_be = effect.faults().any(|one| one == fault);
                    if can_be && tried.insert((verb.join(" "), fault == Fault::OperationUndone)) {
                        told.with_an_hour_of(&verb.join(" "), fault).await;
                    }
                }
            }
            cases.fetch_add(tried.len(), Ordering::Relaxed);
        }
    });
    let cases = cases.into_inner();
    println!("{cases} cases");
    assert!(cases > 25, "{cases} cases");
}

#[tokio::test(start_paused = true)]
async fn every_effect_is_held_up_until_another_operator_is_done() {
    let mut cases = 0;
    for story in STORIES {
        let told = Told::of(story).await;
        let effects = told.with("undisturbed", |_| ()).await.sim.faults.effects();
        for (index, effect) in effects.iter().enumerate() {
            told.with_two(index + 1, effect).await;
        }
        println!("{}: {} effects", story.name, effects.len());
        cases += effects.len();
    }
    println!("{cases} cases");
    assert!(cases > 300, "{cases} cases");
}

#[tokio::test(start_paused = true)]
async fn every_look_fails() {
    for story in STORIES {
        let told = Told::of(story).await;
        let looks = told.with("undisturbed", |_| ()).await.sim.faults.looks();
        for number in 1..=looks {
            let what = format!("look {number} fails");
            told.with(&what, |sim| sim.faults.plan_look(number)).await;
        }
        println!("{}: {looks} looks", story.name);
    }
}

#[tokio::test(start_paused = true)]
async fn every_pass_is_dropped_at_every_poll() {
    for story in STORIES {
        let told = Told::of(story).await;
        let polls = told.with("undisturbed", |_| ()).await.sim.faults.polls();
        for number in 1..=polls {
            let what = format!("dropped at poll {number}");
            told.with(&what, |sim| sim.faults.plan_drop(number)).await;
        }
        println!("{}: {polls} polls", story.name);
    }
}

/// `PAIRS` in the environment says how many, and `SEED` with which to begin: that of a failure tells it again.
#[test]
fn pairs_of_faults_at_random() {
    let first = number_from("SEED", 0);
    let pairs = number_from("PAIRS", PAIRS);
    let next = AtomicU64::new(0);
    in_parallel(async || {
        let mut stories = Vec::new();
        for story in STORIES.into_iter().chain([EVERYTHING]) {
            let told = Told::of(story).await;
            let undisturbed = told.with("undisturbed", |_| ()).await;
            stories.push((told, undisturbed.sim.faults.boundaries()));
        }
        loop {
            let done = next.fetch_add(1, Ordering::Relaxed);
            if done >= pairs {
                break;
            }
            if done > 0 && done.is_multiple_of(PROGRESS) {
                println!("{done} of {pairs} pairs");
            }
            pair_of_faults(&stories, first + done).await;
        }
    });
    println!("{pairs} pairs, the first with seed {first}");
}

async fn pair_of_faults(stories: &[(Told, Vec<Effect>)], seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let (told, effects) = &stories[random.random_range(0..stories.len())];
    let mut pick = || {
        let index = random.random_range(0..effects.len());
        let faults: Vec<Fault> = effects[index].faults().collect();
        (index + 1, faults[random.random_range(0..faults.len())])
    };
    let pair: [(usize, Fault); 2] = [pick(), pick()];
    let plan = |sim: &Sim| {
        for (number, fault) in pair {
            sim.faults.plan(number, fault);
        }
    };
    told.with(&format!("seed {seed}: {pair:?}"), plan).await;
}

#[allow(clippy::disallowed_methods, reason = "whoever runs this says how long")]
fn number_from(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| {
        let number = text.parse();
        number.unwrap_or_else(|error| panic!("{variable}={text}: {error}"))
    })
}

/// Runs this once on every core, in a time of its own.
fn in_parallel(work: impl AsyncFn() + Sync) {
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = runtime.enable_all().start_paused(true).build();
                runtime.unwrap().block_on(work());
            });
        }
    });
}
