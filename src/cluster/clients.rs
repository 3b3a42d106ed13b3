//! The two clients. Built once, at the start.

use std::time::Duration;

use kube::{Client, Config};

use super::Result;

/// How long a connection to the API server may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a request may wait for the next piece of its answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// One client for watches and one for everything else, from one configuration: a watch is silent for as long as
/// nothing happens, any other request that is silent has failed.
#[derive(Clone)]
pub struct Clients {
    /// For watches: no read time-out; the watcher itself notices a connection that has gone quiet.
    pub watch: Client,
    /// For requests: bounded in time, and sent once. kube's own retry would repeat writes for minutes inside a pass;
    /// ours is the next pass, which looks first.
    pub request: Client,
}

impl Clients {
    /// Both clients for the cluster that `config` names.
    ///
    /// # Errors
    /// `Unavailable` when the configuration's certificates or credentials cannot be used.
    pub fn new(config: Config) -> Result<Self> {
        let mut watch = config.clone();
        watch.connect_timeout = Some(CONNECT_TIMEOUT);
        watch.read_timeout = None;
        let mut request = config;
        request.connect_timeout = Some(CONNECT_TIMEOUT);
        request.read_timeout = Some(READ_TIMEOUT);
        request.reset_reader_on_write = true;
        request.default_retry = false;
        Ok(Self {
            watch: Client::try_from(watch)?,
            request: Client::try_from(request)?,
        })
    }
}
