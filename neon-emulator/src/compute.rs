//! One endpoint's compute: a server that is woken and suspended. One lock per compute makes
//! waking and suspending take turns; a *pin* keeps it awake while somebody needs it.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex as SyncMutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use jiff::Timestamp;
use sqlx::{Connection, PgConnection};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{Instant, sleep},
};

use crate::{
    postgres::{
        Postgres,
        bouncer::Bouncer,
        recovery,
        server::{MAINTENANCE_DB, Server, Socket, Stop},
        sql,
    },
    scram::Verifier,
    usage::Usage,
};

/// How long a server may take to recover from the crash of a backend.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(10);

/// A compute, awake or not.
pub(crate) struct Compute {
    pub(crate) endpoint_id: String,
    postgres: Arc<Postgres>,
    /// Is told when it stops; when it starts, by whoever wakes it.
    usage: Arc<Usage>,
    running: Mutex<Option<Running>>,
    /// What the API shows; follows `running`.
    active: AtomicBool,
    pins: Arc<AtomicUsize>,
    last_active: SyncMutex<Timestamp>,
}

/// What a server is started with.
pub(crate) struct Launch {
    pub(crate) timeline: String,
    pub(crate) settings: BTreeMap<String, String>,
    /// For a read replica, which runs on a copy of that timeline.
    pub(crate) replica: Option<Replica>,
}

/// What a read replica follows.
pub(crate) struct Replica {
    /// The read-write compute of the branch, if it has one.
    pub(crate) primary: Option<Arc<Compute>>,
}

/// Copies a timeline on which `compute` runs, if it does.
pub(crate) async fn copy(
    postgres: &Postgres,
    compute: Option<&Compute>,
    from: &str,
    to: &str,
) -> anyhow::Result<()> {
    let from = postgres.data(from);
    let Some(compute) = compute else {
        return postgres.copy_resting(&from, to).await;
    };
    match compute.hold().await {
        Source::Running(awake) => postgres.copy_running(&from, &awake.socket, to).await,
        Source::Resting(_held) => postgres.copy_resting(&from, to).await,
    }
}

/// A server and the control plane's own session on it.
pub(crate) struct Running {
    server: Server,
    session: PgConnection,
    /// Started for the first connection that asks for it.
    bouncer: Option<Bouncer>,
}

/// A compute that stays awake as long as this lives.
pub(crate) struct Awake {
    pub(crate) socket: Socket,
    /// Whether it was asleep before.
    pub(crate) woken: bool,
    pins: Arc<AtomicUsize>,
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.pins.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A compute as the source of a copy.
pub(crate) enum Source<'a> {
    Running(Awake),
    /// Cannot be woken before this is dropped.
    Resting(MutexGuard<'a, Option<Running>>),
}

impl Running {
    /// The control plane's session; a new one where it was lost, because a crash of any backend
    /// makes the server restart all of them.
    async fn session(&mut self) -> anyhow::Result<&mut PgConnection> {
        let deadline = Instant::now() + RECOVERY_DEADLINE;
        while let Err(lost) = self.session.ping().await {
            if self.server.has_ended() || Instant::now() > deadline {
                return Err(lost).context("the server does not answer");
            }
            match self.server.socket().connect(MAINTENANCE_DB).await {
                Ok(session) => self.session = session,
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
        Ok(&mut self.session)
    }

    async fn activity(&mut self) -> anyhow::Result<sql::Activity> {
        Ok(sql::activity(self.session().await?).await?)
    }
}

impl Compute {
    pub(crate) fn new(postgres: Arc<Postgres>, usage: Arc<Usage>, endpoint_id: &str) -> Self {
        Self {
            endpoint_id: endpoint_id.to_owned(),
            postgres,
            usage,
            running: Mutex::new(None),
            active: AtomicBool::new(false),
            pins: Arc::default(),
            last_active: SyncMutex::new(Timestamp::now()),
        }
    }

    /// Whether the server runs, as far as known.
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::SeqCst)
    }

    /// When a client last did something.
    pub(crate) fn last_active(&self) -> Timestamp {
        *self
            .last_active
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a client does something now (or did at `when`).
    pub(crate) fn touch(&self, when: Timestamp) {
        let mut last = self
            .last_active
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last = when.max(*last);
    }

    /// Starts the server if it does not run, and pins it. `launch` is asked when nobody else can
    /// start or stop it any more, and told whether it runs.
    pub(crate) async fn wake<E: From<anyhow::Error>>(
        &self,
        launch: impl FnOnce(bool) -> Result<Launch, E>,
    ) -> Result<Awake, E> {
        let mut running = self.running.lock().await;
        let alive = self.socket_if_alive(&mut running);
        let launch = launch(alive.is_some())?;
        if let Some(socket) = alive {
            return Ok(self.pin(socket, false));
        }
        let launch = self.with_data(launch).await?;
        let data = self.postgres.data(&launch.timeline);
        let socket_dir = self.postgres.socket_dir(&self.endpoint_id);
        let started = Server::start(&self.postgres, &data, &socket_dir, &launch.settings).await;
        let (server, session) = started
            .with_context(|| format!("compute {} could not be started", self.endpoint_id))?;
        let socket = server.socket().clone();
        *running = Some(Running {
            server,
            session,
            bouncer: None,
        });
        self.active.store(true, Ordering::SeqCst);
        self.touch(Timestamp::now());
        Ok(self.pin(socket, true))
    }

    /// Gives a read replica its data: a copy of the branch's as it is now, whether the primary
    /// runs or sleeps. While both run it follows.
    async fn with_data(&self, launch: Launch) -> anyhow::Result<Launch> {
        let Some(replica) = &launch.replica else {
            return Ok(launch);
        };
        let primary = replica.primary.as_deref();
        copy(&self.postgres, primary, &launch.timeline, &self.endpoint_id).await?;
        self.postgres.make_standby(&self.endpoint_id)?;
        let mut settings = launch.settings;
        let followed = primary.map(|primary| self.postgres.socket_dir(&primary.endpoint_id));
        settings.extend(recovery::standby(followed));
        Ok(Launch {
            timeline: self.endpoint_id.clone(),
            settings,
            replica: launch.replica,
        })
    }

    /// Holds the compute in the state in which it is, for a copy of its data.
    pub(crate) async fn hold(&self) -> Source<'_> {
        let mut running = self.running.lock().await;
        match self.socket_if_alive(&mut running) {
            Some(socket) => Source::Running(self.pin(socket, false)),
            None => Source::Resting(running),
        }
    }

    /// Stops the server; `false` if it did not run.
    pub(crate) async fn suspend(&self, how: Stop) -> bool {
        let mut running = self.running.lock().await;
        self.stop(&mut running, how).await
    }

    /// Looks at what the clients' sessions do and moves `last_active`.
    pub(crate) async fn observe(&self) {
        // Whoever holds the lock wakes, stops or copies it: the next look will do.
        if let Ok(mut running) = self.running.try_lock()
            && self.socket_if_alive(&mut running).is_some()
        {
            self.look_at_sessions(&mut running).await;
        }
    }

    /// Stops the server unless somebody has pinned it, is busy or did something after `idle_since`.
    pub(crate) async fn suspend_if_idle(&self, idle_since: Timestamp) -> bool {
        // Whoever holds the lock wakes, stops or copies it: not idle.
        let Ok(mut running) = self.running.try_lock() else {
            return false;
        };
        if self.socket_if_alive(&mut running).is_none() {
            return false;
        }
        self.look_at_sessions(&mut running).await;
        let pinned = self.pins.load(Ordering::SeqCst) > 0;
        if pinned || self.last_active() > idle_since {
            return false;
        }
        self.stop(&mut running, Stop::Fast).await
    }

    /// The verifier of a user who may log in now, if there is one.
    pub(crate) async fn verifier(&self, user: &str) -> anyhow::Result<Option<Verifier>> {
        let mut running = self.running.lock().await;
        let running = running
            .as_mut()
            .context("the compute was suspended meanwhile")?;
        Ok(sql::verifier(running.session().await?, user).await?)
    }

    /// The socket of the endpoint's connection pooler, which is started if it does not run.
    pub(crate) async fn pooler(&self) -> anyhow::Result<PathBuf> {
        let mut running = self.running.lock().await;
        let running = running
            .as_mut()
            .context("the compute was suspended meanwhile")?;
        let mut alive = running.bouncer.take();
        if alive.as_mut().is_some_and(Bouncer::has_ended) {
            alive = None;
        }
        let bouncer = if let Some(bouncer) = alive {
            bouncer
        } else {
            let dir = self.postgres.socket_dir(&self.endpoint_id);
            Bouncer::start(&self.postgres, &dir).await?
        };
        let socket = bouncer.socket().to_path_buf();
        running.bouncer = Some(bouncer);
        Ok(socket)
    }

    /// Roles and databases as the server has them; `None` if it does not run.
    pub(crate) async fn catalog(
        &self,
    ) -> anyhow::Result<Option<(Vec<sql::RoleRow>, Vec<sql::DatabaseRow>)>> {
        let mut running = self.running.lock().await;
        let Some(running) = running.as_mut() else {
            return Ok(None);
        };
        let session = running.session().await?;
        let roles = sql::roles(session).await?;
        Ok(Some((roles, sql::databases(session).await?)))
    }

    async fn look_at_sessions(&self, running: &mut Option<Running>) {
        let Some(running) = running else { return };
        match running.activity().await {
            Ok(activity) if activity.busy > 0 => self.touch(Timestamp::now()),
            Ok(activity) => activity
                .last_change
                .into_iter()
                .for_each(|when| self.touch(when)),
            Err(error) => {
                // Unknown counts as active: better awake for a while than stopped at work.
                tracing::warn!(endpoint = %self.endpoint_id, error = format!("{error:#}"), "cannot look at sessions");
                self.touch(Timestamp::now());
            }
        }
    }

    async fn stop(&self, running: &mut Option<Running>, how: Stop) -> bool {
        let Some(Running {
            server,
            session,
            bouncer,
        }) = running.take()
        else {
            return false;
        };
        // It would go on with connections to a server that is gone.
        drop(bouncer);
        drop(session);
        server.stop(how).await;
        self.rest();
        true
    }

    /// The socket of a server that runs. One that ended by itself is forgotten.
    fn socket_if_alive(&self, running: &mut Option<Running>) -> Option<Socket> {
        if running
            .as_mut()
            .is_some_and(|running| running.server.has_ended())
        {
            tracing::warn!(endpoint = %self.endpoint_id, "the server ended by itself");
            *running = None;
            self.rest();
        }
        running
            .as_ref()
            .map(|running| running.server.socket().clone())
    }

    /// Notes that the server runs no more.
    fn rest(&self) {
        self.active.store(false, Ordering::SeqCst);
        self.usage.end(&self.endpoint_id, Timestamp::now());
    }

    fn pin(&self, socket: Socket, woken: bool) -> Awake {
        self.pins.fetch_add(1, Ordering::SeqCst);
        Awake {
            socket,
            woken,
            pins: Arc::clone(&self.pins),
        }
    }
}
