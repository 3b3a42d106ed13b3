//! 500 small files: the engine beside `psql -f` in one session and beside other tools, on this
//! machine and ten milliseconds away; how long planning 1.3 MB of SQL takes; and what finding out
//! costs that 5,000 files are up to date.
//!
//! Each round lets all of them run, one after the other, each on a fresh database; told are the
//! medians of the rounds. Whatever misses its bound ends the benchmark with a failure.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a benchmark stops at the first surprise, and measures time"
)]

mod distance;
mod files;
mod runners;

use std::{
    alloc::System,
    sync::Arc,
    time::{Duration, Instant},
};

use sepulki::engine::{Bundle, SourceFile, run::apply};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use testkit::postgres::Postgres;

use runners::{Run, Runner, runners};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const FILES: usize = 500;

/// Round trip, rounds, and the most that may be taken of psql's time.
const DISTANCES: [(Duration, usize, f64); 2] = [
    (Duration::ZERO, 7, 1.0),
    (Duration::from_millis(10), 3, 0.3),
];

/// Files of a bundle that is up to date.
const MANY: usize = 5_000;

/// Round trips to find that out: saying hello and goodbye, and four.
const MOST_TURNS: usize = 6;

/// What may be kept of such a file, in bytes; each has about a hundred.
const MOST_KEPT: usize = 4_096;

/// Seconds for 1.3 MB.
const MOST_PLANNING: f64 = 0.2;

#[tokio::main]
async fn main() {
    let server = Postgres::shared().await.unwrap();
    let mut missed = Vec::new();
    let (runners, _folders) = runners(server, FILES);
    for (round_trip, rounds, bound) in DISTANCES {
        let runs = rounds_of(server, &runners, round_trip, rounds).await;
        let ratio = tell(round_trip, rounds, bound, &runners, runs);
        if ratio > bound {
            missed.push(format!("{ratio:.2} times psql at {round_trip:?}"));
        }
    }
    missed.extend(planning());
    missed.extend(up_to_date(server).await);
    assert!(missed.is_empty(), "missed: {}", missed.join(", "));
}

/// The runs of each runner.
async fn rounds_of(
    server: &Postgres,
    runners: &[Runner],
    round_trip: Duration,
    rounds: usize,
) -> Vec<Vec<Run>> {
    let mut runs: Vec<Vec<Run>> = runners.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (runner, runs) in runners.iter().zip(&mut runs) {
            if runner.missing().is_none() {
                runs.push(runner.run(server, round_trip).await);
            }
        }
    }
    runs
}

/// Prints the table and answers the engine's part of psql's time.
fn tell(
    round_trip: Duration,
    rounds: usize,
    bound: f64,
    runners: &[Runner],
    runs: Vec<Vec<Run>>,
) -> f64 {
    let place = if round_trip.is_zero() {
        "on this machine".to_owned()
    } else {
        format!("{round_trip:?} away")
    };
    println!("{FILES} small files {place}, median of {rounds} rounds");
    println!(
        "  {:<14} {:>9} {:>12} {:>12}",
        "", "time", "beside psql", "round trips"
    );
    let medians: Vec<Option<Run>> = runs.into_iter().map(median).collect();
    let seconds = |index: usize| -> f64 {
        let run = medians.get(index).and_then(Option::as_ref);
        run.map_or(f64::NAN, |run| run.took.as_secs_f64())
    };
    for (index, (runner, run)) in runners.iter().zip(&medians).enumerate() {
        let name = runner.name;
        if let Some(run) = run {
            let ratio = seconds(index) / seconds(1);
            let bound = if index == 0 {
                format!("  (bound {bound:.2})")
            } else {
                String::new()
            };
            let (time, turns) = (format!("{:.2} s", seconds(index)), run.turns);
            println!("  {name:<14} {time:>9} {ratio:>12.2} {turns:>12}{bound}");
        } else {
            let why = runner.missing().unwrap_or_default();
            println!("  {name:<14} not installed: {why}");
        }
    }
    seconds(0) / seconds(1)
}

fn median(mut runs: Vec<Run>) -> Option<Run> {
    runs.sort_by_key(|run| run.took);
    let middle = runs.len() / 2;
    runs.into_iter().nth(middle)
}

fn planning() -> Option<String> {
    let text: String = (0..FILES).map(files::body).collect();
    let files: Vec<SourceFile> = (0..32)
        .map(|n| SourceFile {
            name: format!("{n:04}.sql"),
            bytes: text.clone().into_bytes(),
        })
        .collect();
    let bytes: usize = files.iter().map(|file| file.bytes.len()).sum();
    let began = Instant::now();
    let bundle = Bundle::compile(files).unwrap();
    let took = began.elapsed().as_secs_f64();
    assert!(bundle.findings().is_empty());
    println!(
        "planning {}.{} MB of SQL takes {took:.2} s (bound {MOST_PLANNING} s)",
        bytes / 1_000_000,
        bytes / 100_000 % 10
    );
    (took > MOST_PLANNING).then(|| format!("{took:.2} s for planning"))
}

/// What it costs to find that a large bundle is applied.
async fn up_to_date(server: &Postgres) -> Vec<String> {
    let database = server.database().await.unwrap();
    let distance = runners::distance(server, Duration::ZERO).await;
    let before = live();
    let bundle = Arc::new(Bundle::compile(files::sources(MANY)).unwrap());
    let kept = (live() - before) / MANY;
    let request = runners::request(server, &database, &distance, bundle);
    Box::pin(apply(request.clone(), |_| {})).await.unwrap();
    let applied = distance.turns();
    let began = Instant::now();
    let report = Box::pin(apply(request, |_| {})).await.unwrap();
    let (took, turns) = (began.elapsed(), distance.turns() - applied);
    assert_eq!(report.plan.applied.len(), MANY);
    println!(
        "{MANY} files, {applied} round trips to apply them, are found up to date in {:.2} s and {turns} round trips \
         (bound {MOST_TURNS}); planned they take {kept} bytes each (bound {MOST_KEPT})",
        took.as_secs_f64()
    );
    let turns = (turns > MOST_TURNS).then(|| format!("{turns} round trips for nothing"));
    let kept = (kept > MOST_KEPT).then(|| format!("{kept} bytes for a file"));
    turns.into_iter().chain(kept).collect()
}

/// Bytes on the heap.
fn live() -> usize {
    let stats = HEAP.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}
