//! The long-running parts of an environment: found again by a file with their process, started when
//! missing, stopped in order.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use rustix::process::Signal;

use crate::{
    process::{Detached, Program, log_tail},
    progress::note,
};

/// How long a part may take until it answers.
const READY_DEADLINE: Duration = Duration::from_mins(1);
/// How long a part may take to end by itself before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(30);

/// One part.
#[derive(Debug)]
pub(crate) struct Service {
    name: &'static str,
    run_dir: PathBuf,
    /// What asks it to end.
    stop: Signal,
}

impl Service {
    pub(crate) fn new(name: &'static str, run_dir: &Path, stop: Signal) -> Self {
        Self {
            name,
            run_dir: run_dir.to_owned(),
            stop,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.run_dir.join(format!("{}.log", self.name))
    }

    fn record(&self) -> PathBuf {
        self.run_dir.join(format!("{}.pid.json", self.name))
    }

    /// The process, if one runs that we started, in this call of the command or in an earlier one.
    pub(crate) fn running(&self) -> anyhow::Result<Option<Detached>> {
        let text = match fs::read(self.record()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.with_context(|| format!("read {}", self.record().display()))?,
        };
        let process: Detached = serde_json::from_slice(&text)
            .with_context(|| format!("read {}", self.record().display()))?;
        Ok(process.is_running().then_some(process))
    }

    /// Starts the program unless it runs, and remembers its process. Tells whether it was started.
    pub(crate) fn start(&self, program: Program) -> anyhow::Result<bool> {
        if self.running()?.is_some() {
            return Ok(false);
        }
        let process = program.detach()?;
        let written = serde_json::to_vec(&process)
            .map_err(io::Error::from)
            .and_then(|text| fs::write(self.record(), text));
        if let Err(error) = written {
            // Nobody would find it again.
            process.signal(Signal::KILL);
            return Err(error).with_context(|| format!("write {}", self.record().display()));
        }
        Ok(true)
    }

    /// The same for a program of this project: one that was built anew since takes over.
    pub(crate) async fn start_current(&self, program: Program) -> anyhow::Result<()> {
        if self.running()?.is_some_and(Detached::runs_an_old_build) {
            note(&format!("{} was built anew and is restarted", self.name));
            self.stop().await?;
        }
        self.start(program)?;
        Ok(())
    }

    /// Waits until `probe` says yes.
    ///
    /// # Errors
    /// If the process ends or does not answer in time; the message carries the end of its log.
    pub(crate) async fn wait_until(
        &self,
        mut probe: impl AsyncFnMut() -> bool,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_DEADLINE;
        while !probe().await {
            let what = if self.running()?.is_none() {
                "has ended".to_owned()
            } else if Instant::now() > deadline {
                format!("does not answer after {READY_DEADLINE:?}")
            } else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            return Err(anyhow!(
                "{} {what}; its log ends:\n{}",
                self.name,
                log_tail(&self.log())
            ));
        }
        Ok(())
    }

    /// Ends the process, by force if it does not end in time. Tells whether it was running.
    pub(crate) async fn stop(&self) -> anyhow::Result<bool> {
        let Some(process) = self.running()? else {
            return Ok(false);
        };
        process.signal(self.stop);
        let deadline = Instant::now() + STOP_GRACE;
        while process.is_running() {
            if Instant::now() > deadline {
                process.signal(Signal::KILL);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(service: &Service) -> Program {
        Program::new("sleep", "/bin/sleep", service.log()).arg("600")
    }

    #[tokio::test]
    async fn a_part_is_started_once_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let service = Service::new("part", dir.path(), Signal::TERM);
        assert!(service.running().unwrap().is_none());
        assert!(service.start(sleeper(&service)).unwrap());
        let process = service.running().unwrap();

        let later = Service::new("part", dir.path(), Signal::TERM);
        assert!(!later.start(sleeper(&later)).unwrap());
        assert_eq!(later.running().unwrap(), process);

        assert!(later.stop().await.unwrap());
        assert!(service.running().unwrap().is_none());
        assert!(!service.stop().await.unwrap());
    }

    #[tokio::test]
    async fn another_process_with_the_same_number_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let service = Service::new("part", dir.path(), Signal::KILL);
        let ours = std::process::id();
        fs::write(service.record(), format!(r#"{{"pid":{ours},"started":1}}"#)).unwrap();
        assert!(service.running().unwrap().is_none());
        assert!(!service.stop().await.unwrap());
    }

    #[tokio::test]
    async fn a_program_that_was_built_anew_takes_over() {
        let dir = tempfile::tempdir().unwrap();
        let service = Service::new("part", dir.path(), Signal::KILL);
        let file = dir.path().join("program");
        let build = || {
            let _ = fs::remove_file(&file);
            fs::copy("/bin/sleep", &file).unwrap();
        };
        let start = async || {
            let program = Program::new("part", &file, service.log()).arg("60");
            service.start_current(program).await.unwrap();
            // Before that it is still the program that starts it.
            service
                .wait_until(async || {
                    let process = service.running().unwrap().unwrap();
                    let name = fs::read_to_string(format!("/proc/{}/comm", process.pid));
                    name.is_ok_and(|name| name.trim() == "program")
                })
                .await
                .unwrap();
            service.running().unwrap().unwrap()
        };
        build();
        let first = start().await;
        assert_eq!(start().await, first);
        build();
        assert_ne!(start().await, first);
        assert!(!first.is_running());
        service.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_part_that_ends_tells_the_end_of_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let service = Service::new("part", dir.path(), Signal::KILL);
        let program = Program::new("sh", "/bin/sh", service.log())
            .arg("-c")
            .arg("echo no such flag; sleep 0.2");
        service.start(program).unwrap();
        let error = service
            .wait_until(async || false)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("part has ended") && error.contains("no such flag"),
            "{error}"
        );
    }
}
