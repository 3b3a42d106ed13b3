//! The one port through which all endpoints are reached. TLS and SCRAM both end here: behind it
//! are private sockets that trust everybody. That is the arrangement in which channel binding,
//! poolers and clients without SNI all work.

mod cancel;
mod route;
mod scram;
mod session;
mod startup;
pub(crate) mod tls;
mod wire;

use std::sync::Arc;

use tokio::net::TcpListener;

use self::{cancel::CancelKeys, tls::Tls};
use crate::{control::Control, scram::Key};

/// What all connections share.
pub(crate) struct Proxy {
    control: Arc<Control>,
    tls: Tls,
    cancel_keys: CancelKeys,
    /// For the answers to unknown users.
    secret: Key,
}

impl Proxy {
    pub(crate) fn new(control: Arc<Control>, tls: Tls) -> Self {
        Self {
            control,
            tls,
            cancel_keys: CancelKeys::default(),
            secret: rand::random(),
        }
    }

    /// Accepts connections until the emulator stops.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener) {
        let stopping = self.control.stopping.clone();
        let forever = async {
            loop {
                match listener.accept().await {
                    Ok((tcp, _)) => {
                        self.control.recorder.connection_accepted();
                        let proxy = Arc::clone(&self);
                        tokio::spawn(async move { session::serve(&proxy, tcp).await });
                    }
                    Err(error) => {
                        // For instance no free file descriptor: others may end meanwhile.
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    }
                }
            }
        };
        stopping.run_until_cancelled(forever).await;
    }
}
