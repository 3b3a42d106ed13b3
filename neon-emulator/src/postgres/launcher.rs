//! Starts processes from one thread that lives as long as the emulator.
//!
//! The kernel's "kill me when my parent dies" is tied to the *thread* that forked, and threads of
//! an asynchronous runtime come and go. When this thread ends, whatever it started is killed.

use std::{
    io,
    process::{Child, Command},
    sync::mpsc,
    thread,
};

use anyhow::Context;
use tokio::sync::oneshot;

type Job = (Command, oneshot::Sender<io::Result<Child>>);

/// A handle on the thread; the thread ends with the last handle.
#[derive(Clone)]
pub(crate) struct Launcher {
    jobs: mpsc::Sender<Job>,
}

impl Launcher {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name("launcher".into())
            .spawn(move || {
                for (mut command, reply) in queue {
                    if let Err(Ok(mut orphan)) = reply.send(command.spawn()) {
                        // Nobody waits for it any more; killing a child cannot fail usefully.
                        let _ = orphan.kill();
                        let _ = orphan.wait();
                    }
                }
            })
            .context("cannot start the launcher thread")?;
        Ok(Self { jobs })
    }

    /// Spawns a process.
    pub(crate) async fn spawn(&self, command: Command) -> anyhow::Result<Child> {
        let program = command.get_program().to_string_lossy().into_owned();
        let (reply, answer) = oneshot::channel();
        self.jobs
            .send((command, reply))
            .ok()
            .context("the launcher thread has ended")?;
        let spawned = answer.await.context("the launcher thread has ended")?;
        spawned.with_context(|| format!("cannot run {program}"))
    }
}
