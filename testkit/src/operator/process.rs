//! The running operator.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use reqwest::Client;

use super::Platform;
use crate::{
    environment::{neon::local_client, without_proxies},
    kubeconfig,
    process::{Process, Program, free_port, log_tail, port_was_taken},
    scratch::ScratchDir,
};

/// How long the operator may take until it is ready, and to stop when asked.
const DEADLINE: Duration = Duration::from_mins(1);
const START_ATTEMPTS: usize = 5;

/// How an operator is to be started.
#[derive(Debug)]
pub struct Start<'a> {
    platform: &'a Platform,
    program: PathBuf,
    flags: Vec<OsString>,
    log: PathBuf,
}

impl<'a> Start<'a> {
    pub(super) fn new(platform: &'a Platform, program: &Path, log: PathBuf) -> Self {
        Self {
            platform,
            program: program.to_owned(),
            flags: Vec::new(),
            log,
        }
    }

    /// Adds a flag of `sepulki operator`, such as `--snapshot-interval=2s`.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<OsString>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// If it ends or is not ready in time; the message carries the end of its log.
    pub async fn start(self) -> anyhow::Result<Operator> {
        let mut attempt = 1;
        loop {
            match self.start_once().await {
                Err(error) if port_was_taken(&error) && attempt < START_ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    async fn start_once(&self) -> anyhow::Result<Operator> {
        let scratch = ScratchDir::new("operator")?;
        let kubeconfig_file = scratch.path().join("kubeconfig");
        kubeconfig::write(self.platform.operator_kubeconfig(), &kubeconfig_file)?;
        let emulator = self.platform.neon().emulator();
        let address = format!("127.0.0.1:{}", free_port()?);
        let mut program = Program::new("sepulki operator", &self.program, &self.log)
            .arg("operator")
            .env("KUBECONFIG", kubeconfig_file)
            .env("NEON_API_HOST", emulator.api_url())
            .env("NEON_PG_PORT", emulator.pg_port().to_string())
            .env("PGSSLROOTCERT", emulator.ca_path())
            .env("POD_NAMESPACE", self.platform.operator_namespace())
            .arg(format!("--listen={address}"));
        for flag in &self.flags {
            program = program.arg(flag);
        }
        let mut operator = Operator {
            process: without_proxies(program).spawn()?,
            address,
            client: local_client()?,
            log: self.log.clone(),
            _scratch: scratch,
        };
        operator.wait_until_ready().await?;
        Ok(operator)
    }
}

/// A running operator; killed when dropped.
#[derive(Debug)]
pub struct Operator {
    process: Process,
    address: String,
    client: Client,
    log: PathBuf,
    _scratch: ScratchDir,
}

impl Operator {
    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + DEADLINE;
        let url = format!("http://{}/readyz", self.address);
        loop {
            self.process.check_running()?;
            let answer = self.client.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.process.not_ready(DEADLINE));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills it without warning and returns when it is gone.
    pub fn kill(self) {
        drop(self);
    }

    /// Asks it to stop (SIGTERM), as Kubernetes does, and waits until it has.
    ///
    /// # Errors
    /// If it does not end in time, or not with success.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.process.ask_to_end();
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.process.exit_status()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the operator ended with {status}:\n{}", self.log_tail()),
                None if Instant::now() > deadline => {
                    bail!("the operator does not stop:\n{}", self.log_tail())
                }
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Fails with the end of the log if it has ended by itself.
    pub fn check_running(&mut self) -> anyhow::Result<()> {
        self.process.check_running()
    }

    /// All metrics as text.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        let url = format!("http://{}/metrics", self.address);
        let answer = self.client.get(url).send().await?.error_for_status()?;
        Ok(answer.text().await?)
    }

    /// The present value of a counter without labels, by its name with `_total`.
    pub async fn counter(&self, name: &str) -> anyhow::Result<u64> {
        let text = self.metrics().await?;
        let of_it = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(' ')?.to_owned());
        let value = text.lines().find_map(of_it);
        let value = value.with_context(|| format!("there is no metric {name}"))?;
        value.parse().with_context(|| format!("read {name}"))
    }

    /// Everything that it and its predecessors in the same namespace have logged.
    pub fn log(&self) -> anyhow::Result<String> {
        fs::read_to_string(&self.log).context("read the operator's log")
    }

    fn log_tail(&self) -> String {
        log_tail(&self.log)
    }
}
