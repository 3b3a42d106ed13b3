//! A way to the API server that can be cut: for connections an outage looks like this.

use std::net::SocketAddr;

use kube::Config;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Forwards connections on loopback until it is cut; the bytes, TLS included, pass untouched.
pub(crate) struct Forwarder {
    address: SocketAddr,
    open: watch::Sender<bool>,
}

impl Forwarder {
    /// In front of the server that `config` names.
    pub(crate) async fn new(config: &Config) -> Self {
        let server = config.cluster_url.authority().unwrap().to_string();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (open, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(forward(near, server.clone(), state.clone()));
            }
        });
        Self { address, open }
    }

    /// The same configuration by this way.
    pub(crate) fn config(&self, config: &Config) -> Config {
        let mut config = config.clone();
        config.cluster_url = format!("https://{}", self.address).parse().unwrap();
        config
    }

    /// Breaks every connection and every new one.
    pub(crate) fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Lets connections through again.
    pub(crate) fn mend(&self) {
        self.open.send_replace(true);
    }
}

async fn forward(mut near: TcpStream, server: String, mut open: watch::Receiver<bool>) {
    if !*open.borrow() {
        return;
    }
    let mut far = TcpStream::connect(server).await.unwrap();
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = open.wait_for(|open| !open) => {}
    }
}
