//! A relay in front of the server: counts turns, loses answers, plays pooler.
#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a test says what it expects by failing; not every test binary uses every helper"
)]

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

/// Listens on the loopback interface and forwards, without TLS, to the server's unix socket.
pub(crate) struct Relay {
    pub(crate) port: u16,
    /// How often the direction changed from client to server, over all connections.
    pub(crate) turns: Arc<AtomicUsize>,
    /// Answers are thrown away from now on.
    pub(crate) is_deaf: Arc<AtomicBool>,
    /// Something that happens at a certain turn.
    pub(crate) accident: Arc<Accident>,
}

/// Something that happens when a client speaks for the `turn`-th time, over all connections.
#[derive(Default)]
pub(crate) struct Accident {
    /// From 1; 0 for never.
    pub(crate) turn: AtomicUsize,
    /// The network is gone from then on: before (otherwise after) the server has heard that turn.
    pub(crate) cuts_before: AtomicBool,
    pub(crate) cuts_after: AtomicBool,
    /// That turn has come, and waits for `go`.
    pub(crate) reached: Notify,
    pub(crate) go: Notify,
    is_cut: CancellationToken,
}

impl Accident {
    /// Whether the network is gone.
    async fn before(&self, turn: usize) -> bool {
        if turn > 0 && turn == self.turn.load(Ordering::Relaxed) {
            self.reached.notify_one();
            self.go.notified().await;
            if self.cuts_before.load(Ordering::Relaxed) {
                self.is_cut.cancel();
            }
        }
        self.is_cut.is_cancelled()
    }

    fn after(&self, turn: usize) {
        let is_it = turn > 0 && turn == self.turn.load(Ordering::Relaxed);
        if is_it && self.cuts_after.load(Ordering::Relaxed) {
            self.is_cut.cancel();
        }
    }
}

/// What the relay does to the startup message.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Startup {
    Forward,
    /// Drops the `options`, as some poolers are told to.
    DropOptions,
    /// Refuses them, as pgbouncer does.
    Refuse,
    /// Refuses settings where there are some, as pgbouncer does, and knows no prepared statements.
    Pooler,
}

impl Relay {
    pub(crate) async fn start(socket: PathBuf, startup: Startup) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self {
            port: listener.local_addr().unwrap().port(),
            turns: Arc::default(),
            is_deaf: Arc::default(),
            accident: Arc::default(),
        };
        let (turns, is_deaf) = (relay.turns.clone(), relay.is_deaf.clone());
        let accident = relay.accident.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let connection = Box::pin(serve(
                    client,
                    socket.clone(),
                    startup,
                    turns.clone(),
                    is_deaf.clone(),
                    accident.clone(),
                ));
                let is_cut = accident.is_cut.clone();
                tokio::spawn(async move { is_cut.run_until_cancelled(connection).await });
            }
        });
        relay
    }
}

async fn serve(
    mut client: TcpStream,
    socket: PathBuf,
    startup: Startup,
    turns: Arc<AtomicUsize>,
    is_deaf: Arc<AtomicBool>,
    accident: Arc<Accident>,
) -> std::io::Result<()> {
    let length = client.read_u32().await?;
    let mut body = vec![0; usize::try_from(length).unwrap() - 4];
    client.read_exact(&mut body).await?;
    let asks = |name: &[u8]| body.split(|byte| *byte == 0).any(|text| text == name);
    let has_settings = asks(b"options") || asks(b"extra_float_digits");
    if startup == Startup::Refuse || (startup == Startup::Pooler && has_settings) {
        return refuse(&mut client).await;
    }
    if startup == Startup::DropOptions {
        body = without_options(&body);
    }
    let mut server = UnixStream::connect(socket).await?;
    server
        .write_u32(u32::try_from(body.len() + 4).unwrap())
        .await?;
    server.write_all(&body).await?;
    let (mut from_client, mut to_server) = ([0; 16384], [0; 16384]);
    let mut client_spoke = false;
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => match read? {
                0 => return Ok(()),
                n => {
                    let mut turn = 0;
                    if !client_spoke {
                        turn = turns.fetch_add(1, Ordering::Relaxed) + 1;
                    }
                    client_spoke = true;
                    // Parse
                    if startup == Startup::Pooler && from_client[0] == b'P' {
                        return Ok(());
                    }
                    if accident.before(turn).await {
                        return Ok(());
                    }
                    server.write_all(&from_client[..n]).await?;
                    accident.after(turn);
                }
            },
            read = server.read(&mut to_server) => match read? {
                0 if is_deaf.load(Ordering::Relaxed) => {
                    // the client speaks to nobody, and does not learn of it
                    while client.read(&mut from_client).await? > 0 {}
                    return Ok(());
                }
                0 => return Ok(()),
                n => {
                    client_spoke = false;
                    if !is_deaf.load(Ordering::Relaxed) {
                        client.write_all(&to_server[..n]).await?;
                    }
                }
            },
        }
    }
}

async fn refuse(client: &mut TcpStream) -> std::io::Result<()> {
    let fields = b"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: options\0\0";
    client.write_u8(b'E').await?;
    client
        .write_u32(u32::try_from(fields.len() + 4).unwrap())
        .await?;
    client.write_all(fields).await
}

/// Protocol number, then pairs of zero-terminated texts, then a zero.
fn without_options(body: &[u8]) -> Vec<u8> {
    let texts: Vec<&[u8]> = body[4..].split(|byte| *byte == 0).collect();
    let mut kept = body[..4].to_vec();
    for pair in texts
        .chunks(2)
        .filter(|pair| !pair[0].is_empty() && pair[0] != b"options")
    {
        for text in pair {
            kept.extend_from_slice(text);
            kept.push(0);
        }
    }
    kept.push(0);
    kept
}
