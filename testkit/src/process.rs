//! Child processes: started so that they die with this process, or so that they outlive it.
//!
//! Knows nothing of the programs it starts. Output goes to files, because an error without the
//! last lines of the log is useless.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{LazyLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};

/// Log lines that an error carries.
const LOG_LINES: usize = 50;

/// A user of this machine that a program runs as.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Account {
    /// Looks `name` up with `id`.
    pub(crate) fn find(name: &str) -> anyhow::Result<Self> {
        let number = |flag: &str| -> anyhow::Result<u32> {
            let output = Command::new("id")
                .args([flag, name])
                .output()
                .context("run id")?;
            if !output.status.success() {
                bail!("there is no user `{name}` on this machine");
            }
            String::from_utf8_lossy(&output.stdout)
                .trim()
                .parse()
                .context("read what id printed")
        };
        Ok(Self {
            name: name.to_owned(),
            uid: number("-u")?,
            gid: number("-g")?,
        })
    }

    /// A command that it runs; only root can.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--reuid={}", self.uid))
            .arg(format!("--regid={}", self.gid))
            .args(["--init-groups", "--"])
            .arg(program);
        command
    }
}

/// Runs a command to its end; `what` it is for stands before what it says where it fails.
pub(crate) fn run(what: &str, command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| what.to_owned())?;
    if !output.status.success() {
        bail!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// A program to start: what, with which arguments, where its output goes.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    path: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, Option<OsString>)>,
    log: PathBuf,
    account: Option<Account>,
    stop: Signal,
}

impl Program {
    /// `name` is for messages; `log` receives standard output and error.
    pub(crate) fn new(name: &str, path: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            path: path.into(),
            args: Vec::new(),
            env: Vec::new(),
            log: log.into(),
            account: None,
            stop: Signal::KILL,
        }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.into(), Some(value.as_ref().to_owned())));
        self
    }

    /// Takes a variable out of its environment.
    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.env.push((name.into(), None));
        self
    }

    /// Runs it as somebody else; only root can.
    pub(crate) fn run_as(mut self, account: Option<Account>) -> Self {
        self.account = account;
        self
    }

    /// The signal that ends it, sent when its [`Process`] is dropped or our own process ends.
    /// SIGKILL by default.
    pub(crate) fn stop_with(mut self, signal: Signal) -> Self {
        self.stop = signal;
        self
    }

    /// Starts it; it ends when this process ends.
    pub(crate) fn spawn(self) -> anyhow::Result<Process> {
        let mut command = Command::new("setpriv");
        command.arg("--pdeathsig").arg(signal_name(self.stop)?);
        if let Some(account) = &self.account {
            command
                .arg(format!("--reuid={}", account.uid))
                .arg(format!("--regid={}", account.gid));
            command.arg("--init-groups");
        }
        command.arg("--").arg(&self.path);
        self.finish(&mut command)?;
        command.process_group(0);
        let child = spawn_from_lasting_thread(command)
            .with_context(|| format!("start {} through `setpriv` (of util-linux)", self.name))?;
        Ok(Process {
            name: self.name,
            child,
            log: self.log,
            stop: self.stop,
        })
    }

    /// Starts it in a session of its own; it outlives this process.
    pub(crate) fn detach(self) -> anyhow::Result<Detached> {
        let mut command = Command::new("setsid");
        command.arg(&self.path);
        self.finish(&mut command)?;
        let child = command
            .spawn()
            .with_context(|| format!("start {} through `setsid` (of util-linux)", self.name))?;
        Detached::of(child.id()).with_context(|| format!("{} ended at once", self.name))
    }

    /// What both ways of starting share.
    fn finish(&self, command: &mut Command) -> anyhow::Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("open {}", self.log.display()))?;
        command
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        for (key, value) in &self.env {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        Ok(())
    }
}

/// The names that `setpriv --pdeathsig` takes, for the signals in use here.
fn signal_name(signal: Signal) -> anyhow::Result<&'static str> {
    if signal == Signal::KILL {
        Ok("KILL")
    } else if signal == Signal::QUIT {
        Ok("QUIT")
    } else {
        bail!("{signal:?} is not used to end a child")
    }
}

/// The parent-death signal is tied to the *thread* that started the child, and test threads end with
/// their test: so one thread starts all children and lasts as long as the process.
fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    type Request = (Command, mpsc::Sender<io::Result<Child>>);
    static SPAWNER: LazyLock<mpsc::Sender<Request>> = LazyLock::new(|| {
        let (sender, receiver) = mpsc::channel::<Request>();
        thread::spawn(move || {
            while let Ok((mut command, answer)) = receiver.recv() {
                // Whoever asked may have gone; the child is then dropped and runs on until we end.
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (sender, receiver) = mpsc::channel();
    SPAWNER.send((command, sender)).map_err(io::Error::other)?;
    receiver.recv().map_err(io::Error::other)?
}

/// A running child; ended when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    stop: Signal,
}

impl Process {
    /// Fails with the end of the log if the program has ended.
    pub(crate) fn check_running(&mut self) -> anyhow::Result<()> {
        match self
            .child
            .try_wait()
            .with_context(|| format!("look at {}", self.name))?
        {
            None => Ok(()),
            Some(status) => Err(self.ended(status)),
        }
    }

    /// Asks it to end (SIGTERM).
    pub(crate) fn ask_to_end(&self) {
        // It may have ended already.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
    }

    /// How it ended; none while it runs.
    pub(crate) fn exit_status(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("look at {}", self.name))
    }

    fn ended(&self, status: ExitStatus) -> anyhow::Error {
        anyhow!(
            "{} ended with {status}; its log ends:\n{}",
            self.name,
            log_tail(&self.log)
        )
    }

    /// The error for a program that runs but is not ready in time.
    pub(crate) fn not_ready(&self, within: Duration) -> anyhow::Error {
        anyhow!(
            "{} is not ready after {within:?}; its log ends:\n{}",
            self.name,
            log_tail(&self.log)
        )
    }

    fn wait_until(&mut self, deadline: Instant) -> bool {
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let pid = Pid::from_child(&self.child);
        if self.stop != Signal::KILL {
            let _ = kill_process(pid, self.stop);
            if self.wait_until(Instant::now() + Duration::from_secs(5)) {
                return;
            }
        }
        // The group holds what the program has started in its turn.
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// A process that is not tied to ours, known well enough not to be mistaken for a later one with the
/// same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Detached {
    pub(crate) pid: u32,
    /// Clock ticks between boot and its start, from `/proc/<pid>/stat`.
    started: u64,
}

impl Detached {
    fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in parentheses and may hold anything.
        let (_, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split(' ');
        // Field 3: a zombie has ended, somebody just has not asked for its status yet.
        if fields.next()? == "Z" {
            return None;
        }
        // Field 22; two are taken by now, and `nth` counts from zero.
        let started = fields.nth(18)?.parse().ok()?;
        Some(Self { pid, started })
    }

    pub(crate) fn is_running(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Whether its program's file is no longer the one that it was started from: it was built anew.
    pub(crate) fn runs_an_old_build(self) -> bool {
        fs::read_link(format!("/proc/{}/exe", self.pid))
            .is_ok_and(|path| path.to_string_lossy().ends_with(" (deleted)"))
    }

    /// Sends a signal, if it still runs.
    pub(crate) fn signal(self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid
            && self.is_running()
        {
            // It may end between the question and the signal.
            let _ = kill_process(pid, signal);
        }
    }
}

/// The last lines of a log, for an error message.
pub(crate) fn log_tail(log: &Path) -> String {
    let text = match fs::read(log) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => return format!("(cannot read {}: {error})", log.display()),
    };
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(LOG_LINES)..)
        .unwrap_or_default()
        .join("\n")
}

/// A port that was free a moment ago. Somebody else may take it before the server does: start again
/// with another one if the log says so ([`port_was_taken`]).
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?;
    Ok(listener.local_addr()?.port())
}

/// Whether a server gave up because its port was in use: the words of Go programs and of PostgreSQL.
pub(crate) fn port_was_taken(error: &anyhow::Error) -> bool {
    format!("{error:#}")
        .to_lowercase()
        .contains("address already in use")
}
