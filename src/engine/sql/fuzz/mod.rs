//! Random and broken files against the compiler: it never panics, never takes long, and whatever it accepts it has cut
//! as the parser has. `make fuzz` does it for minutes.
#![allow(
    clippy::disallowed_methods,
    reason = "whoever runs this says how long, and is told what takes too long"
)]

mod files;
mod promises;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::StdRng};

/// Files that are tried, if neither `FILES` nor `MINUTES` in the environment says otherwise.
const FILES: u64 = 1_500;

/// Longest time for one file, on a machine that has other things to do.
const LONGEST: Duration = Duration::from_secs(30);

/// How often a long run says how far it is.
const PROGRESS: Duration = Duration::from_mins(1);

/// How far a worker is: the seed of a file, and once it is read whether it was accepted, or which promise is broken.
type Told = (usize, u64, Option<Result<bool, String>>);

/// No file breaks the compiler, however odd. `SEED` in the environment says with which to begin: that of a failure tells
/// it again.
#[test]
fn no_file_breaks_the_compiler() {
    let first = number_from("SEED").unwrap_or(0);
    let time = number_from("MINUTES").map(|minutes| Duration::from_secs(minutes * 60));
    let most = if time.is_some() { u64::MAX } else { FILES };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let reports = start(workers, first, number_from("FILES").unwrap_or(most), time);
    let mut busy: Vec<Option<(u64, Instant)>> = vec![None; workers];
    let (mut accepted, mut refused) = (0_u64, 0_u64);
    let mut told = Instant::now();
    loop {
        match reports.recv_timeout(Duration::from_secs(1)) {
            Ok((worker, seed, None)) => busy[worker] = Some((seed, Instant::now())),
            Ok((worker, seed, Some(outcome))) => {
                busy[worker] = None;
                if outcome.unwrap_or_else(|what| broken(seed, &what)) {
                    accepted += 1;
                } else {
                    refused += 1;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        for (seed, since) in busy.iter().flatten() {
            let took = since.elapsed();
            assert!(took < LONGEST, "SEED={seed} FILES=1 takes {took:?}");
        }
        if told.elapsed() > PROGRESS {
            println!("{} files", accepted + refused);
            told = Instant::now();
        }
    }
    let failed: Vec<u64> = busy.iter().flatten().map(|(seed, _)| *seed).collect();
    assert!(failed.is_empty(), "a check panicked: SEED={failed:?}");
    println!("{accepted} files accepted, {refused} refused with a reason, first seed {first}");
}

fn start(workers: usize, first: u64, files: u64, time: Option<Duration>) -> Receiver<Told> {
    let begun = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let (report, reports) = mpsc::channel();
    for worker in 0..workers {
        let (next, report) = (next.clone(), report.clone());
        thread::spawn(move || {
            loop {
                let done = next.fetch_add(1, Ordering::Relaxed);
                if done >= files || time.is_some_and(|time| begun.elapsed() > time) {
                    return;
                }
                let seed = first.wrapping_add(done);
                // nobody listens any more once one has failed
                let _ = report.send((worker, seed, None));
                let file = files::file(&mut StdRng::seed_from_u64(seed));
                let _ = report.send((worker, seed, Some(promises::check(&file))));
            }
        });
    }
    reports
}

fn broken(seed: u64, what: &str) -> ! {
    let file = files::file(&mut StdRng::seed_from_u64(seed));
    let text: String = String::from_utf8_lossy(&file).chars().take(2_000).collect();
    panic!("SEED={seed} FILES=1: {what}: {text:?}")
}

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}
