//! `make demo`: the operator's story in a terminal, on real parts, in an environment of its own that is
//! gone afterwards.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    assets,
    environment::{self, Lock, Places},
    process::log_tail,
    progress::{note, say, styled},
};

mod checkout;
mod shell;
mod story;
mod watch;

/// The namespace of deploy/examples.
const NAMESPACE: &str = "sepulki";
/// How long the story may take, building what is missing aside. On an idle machine: less than a minute.
const DEADLINE: Duration = Duration::from_mins(10);

/// Tells the story. The environment is ended at the end, on failure and on Ctrl-C too, unless `keep` says
/// otherwise. Success only if everything that was claimed was seen.
pub async fn run(keep: bool) -> anyhow::Result<ExitCode> {
    assets::build(note)?;
    let start = Instant::now();
    let places = Places::of_demo()?;
    if environment::exists(&places) {
        let lock = Lock::require(&places)?;
        say("==> an earlier demo has left its environment");
        environment::down(&places, &lock).await?;
    }
    let lock = Lock::require(&places)?;
    let outcome = tokio::select! {
        outcome = play(&places, &lock) => outcome,
        signal = interruption() => signal.and_then(|name| Err(anyhow!("stopped by {name}"))),
    };
    say("");
    if keep {
        say(&format!(
            "==> it is left running: `. {}`; `make down` ends it",
            places.run_dir.join("env").display()
        ));
    } else {
        environment::down(&places, &lock).await?;
    }
    say("");
    let (verdict, code) = match outcome {
        Ok(()) => (
            styled("1;32", "demo: all shown and checked"),
            ExitCode::SUCCESS,
        ),
        Err(error) => (
            styled("1;31", &format!("demo failed: {error:#}")),
            ExitCode::FAILURE,
        ),
    };
    say(&format!("{verdict}, {} s", start.elapsed().as_secs()));
    Ok(code)
}

/// The story within its deadline; should it fail, with what somebody needs who wants to know why.
async fn play(places: &Places, lock: &Lock) -> anyhow::Result<()> {
    let story = Box::pin(story::tell(places, lock));
    let outcome = tokio::time::timeout(DEADLINE, story)
        .await
        .unwrap_or_else(|_| Err(anyhow!("not finished after {DEADLINE:?}")));
    if let Err(error) = &outcome {
        say("");
        say(&styled("1;31", &format!("failed: {error:#}")));
        if let Err(error) = show_logs(places) {
            say(&format!("no logs: {error:#}"));
        }
    }
    outcome
}

/// Waits for whoever wants the demo to end.
async fn interruption() -> anyhow::Result<&'static str> {
    let listen = |kind| signal(kind).context("listen for signals");
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hang_up = listen(SignalKind::hangup())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => "Ctrl-C",
        _ = terminate.recv() => "SIGTERM",
        _ = hang_up.recv() => "SIGHUP",
    })
}

/// The end of the operator's log, and where all logs are from now on.
fn show_logs(places: &Places) -> anyhow::Result<()> {
    let parts = environment::status(places)?;
    if let Some(operator) = parts.iter().find(|part| part.name == "sepulki-operator") {
        say("the operator's log ends:");
        for line in log_tail(&operator.log).lines() {
            note(line);
        }
    }
    let logs: Vec<_> = parts.into_iter().map(|part| part.log).collect();
    let kept = keep_logs(&logs, &places.bin_dir)?;
    say(&format!("all logs: {}", kept.display()));
    Ok(())
}

/// Copies the logs to where they outlive the environment: beside the built programs.
fn keep_logs(logs: &[PathBuf], bin_dir: &Path) -> anyhow::Result<PathBuf> {
    let dir = bin_dir.with_file_name("demo-logs");
    fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    for log in logs {
        if let Some(name) = log.file_name().filter(|_| log.is_file()) {
            fs::copy(log, dir.join(name)).with_context(|| format!("copy {}", log.display()))?;
        }
    }
    Ok(dir)
}
