//! One connection from its first byte to its last: TLS, route, wake, SCRAM, then bytes both ways.

use std::{io, path::PathBuf, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::server::TlsStream;

use super::{
    Proxy,
    cancel::Registered,
    route::{self, Route},
    scram::{Exchange, Failure, MECHANISMS},
    startup::{self, First, Startup},
    wire::{self, Fatal},
};
use crate::{
    control::{QUOTA_EXCEEDED, WakeError},
    scram::Verifier,
};

/// How long a client may take to get to its session (PostgreSQL's `authentication_timeout`);
/// waking the compute comes on top.
const PATIENCE: Duration = Duration::from_mins(1);

/// The first byte of a TLS handshake, for clients that do not ask for TLS first.
const TLS_HANDSHAKE: u8 = 0x16;

/// Request codes of authentication messages.
const SASL: u32 = 10;
const SASL_CONTINUE: u32 = 11;
const SASL_FINAL: u32 = 12;

/// Why a connection ended before its session began.
#[derive(Debug)]
enum End {
    /// The client is told.
    Told(Fatal),
    /// The client is gone, or does not listen.
    Silent,
    /// It was a cancel request and is done.
    Cancelled,
}

impl From<Fatal> for End {
    fn from(fatal: Fatal) -> Self {
        Self::Told(fatal)
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Silent
    }
}

/// A session on its way between client and server.
struct Session {
    server: UnixStream,
    _key: Option<Registered>,
}

/// Serves one connection.
pub(super) async fn serve(proxy: &Proxy, mut tcp: TcpStream) {
    if tcp.set_nodelay(true).is_err() {
        return;
    }
    let encrypted = match timeout(PATIENCE, encrypt(proxy, &mut tcp)).await {
        Ok(Ok(())) => timeout(PATIENCE, proxy.tls.acceptor.accept(tcp)).await,
        Ok(Err(End::Told(fatal))) => {
            proxy.control.recorder.connection_refused();
            wire::send(&mut tcp, &fatal.encode()).await.ok();
            return;
        }
        Ok(Err(End::Cancelled)) => return,
        Ok(Err(End::Silent)) | Err(_) => return proxy.control.recorder.connection_refused(),
    };
    let Ok(Ok(mut tls)) = encrypted else {
        return proxy.control.recorder.connection_refused();
    };
    match begin(proxy, &mut tls).await {
        Ok(mut session) => {
            // How it ends is between client and server.
            copy_bidirectional(&mut tls, &mut session.server).await.ok();
        }
        Err(End::Told(fatal)) => {
            wire::send(&mut tls, &fatal.encode()).await.ok();
            tokio::io::AsyncWriteExt::shutdown(&mut tls).await.ok();
        }
        Err(End::Silent | End::Cancelled) => {}
    }
}

/// Agrees on TLS; on return the client starts its handshake.
async fn encrypt(proxy: &Proxy, tcp: &mut TcpStream) -> Result<(), End> {
    let mut first = [0];
    tcp.peek(&mut first).await?;
    if first == [TLS_HANDSHAKE] {
        return Ok(());
    }
    loop {
        let packet = wire::read_untyped(tcp).await?;
        match First::parse(&packet)? {
            First::Ssl => return Ok(wire::send(tcp, b"S").await?),
            First::Gss => wire::send(tcp, b"N").await?,
            First::Cancel(key) => return Err(cancel(proxy, &key).await),
            First::Startup(_) => {
                return Err(Fatal::protocol(
                    "connection is insecure (try using `sslmode=require`)",
                )
                .into());
            }
        }
    }
}

/// Brings an encrypted connection to its session. Counts what becomes of it.
async fn begin(proxy: &Proxy, tls: &mut TlsStream<TcpStream>) -> Result<Session, End> {
    let stats = &proxy.control.recorder;
    let named = match timeout(PATIENCE, name_endpoint(proxy, tls)).await {
        Ok(Ok(named)) => named,
        Ok(Err(End::Cancelled)) => return Err(End::Cancelled),
        Ok(Err(end)) => {
            stats.connection_refused();
            return Err(end);
        }
        Err(_) => {
            stats.connection_refused();
            return Err(End::Silent);
        }
    };
    let (route, startup) = named;
    stats.at(&route.endpoint, |counts| counts.accepted += 1);
    let session = connect(proxy, tls, &route, startup).await;
    stats.at(&route.endpoint, |counts| match session {
        Ok(_) => counts.authenticated += 1,
        Err(_) => counts.failed += 1,
    });
    session
}

/// Reads the startup packet and finds the endpoint that it, or the host name, means.
async fn name_endpoint(
    proxy: &Proxy,
    tls: &mut TlsStream<TcpStream>,
) -> Result<(Route, Startup), End> {
    let packet = wire::read_untyped(tls).await?;
    let mut startup = match First::parse(&packet)? {
        First::Startup(startup) => startup,
        First::Cancel(key) => return Err(cancel(proxy, &key).await),
        First::Ssl | First::Gss => {
            return Err(Fatal::protocol("the connection is already encrypted").into());
        }
    };
    let option = startup.take_endpoint();
    let sni = tls.get_ref().1.server_name().map(str::to_owned);
    let route = route::find(sni.as_deref(), option.as_deref())?;
    if !proxy.control.knows_endpoint(&route.endpoint) {
        return Err(unknown_endpoint().into());
    }
    Ok((route, startup))
}

async fn connect(
    proxy: &Proxy,
    tls: &mut TlsStream<TcpStream>,
    route: &Route,
    mut startup: Startup,
) -> Result<Session, End> {
    let user = startup.user()?.to_owned();
    let (compute, awake) = proxy
        .control
        .wake_for_connection(&route.endpoint)
        .await
        .map_err(not_woken)?;
    let verifier = compute
        .verifier(&user)
        .await
        .map_err(|error| not_woken(error.into()))?;
    let verifier = verifier.unwrap_or_else(|| Verifier::unmatched(&proxy.secret, &user));
    let speaks_3_2 = !route.pooled && proxy.control.postgres.major() >= 18;
    if let Some(answer) = startup.negotiate(speaks_3_2) {
        wire::send(tls, &answer).await?;
    }
    timeout(PATIENCE, authenticate(proxy, tls, &user, &verifier))
        .await
        .map_err(|_| End::Silent)??;
    let socket = if route.pooled {
        startup.suit_pooler()?;
        let pooler = compute.pooler().await;
        pooler.map_err(|error| not_woken(error.into()))?
    } else {
        awake.socket.path()
    };
    open(proxy, tls, &startup, socket).await
}

/// Has the client prove that it knows the password.
async fn authenticate(
    proxy: &Proxy,
    tls: &mut TlsStream<TcpStream>,
    user: &str,
    verifier: &Verifier,
) -> Result<(), End> {
    wire::send(tls, &wire::authentication(SASL, MECHANISMS)).await?;
    let first = read_password_message(tls).await?;
    let (mechanism, client_first) =
        initial_response(&first).ok_or_else(|| Fatal::protocol("malformed SASL response"))?;
    let told = |failure| refused(user, &failure);
    let exchange =
        Exchange::start(verifier, &proxy.tls.end_point, mechanism, client_first).map_err(told)?;
    wire::send(
        tls,
        &wire::authentication(SASL_CONTINUE, exchange.server_first().as_bytes()),
    )
    .await?;
    let last = read_password_message(tls).await?;
    let client_final =
        std::str::from_utf8(&last).map_err(|_| Fatal::protocol("malformed SASL response"))?;
    let proof = exchange.finish(client_final).map_err(told)?;
    wire::send(tls, &wire::authentication(SASL_FINAL, proof.as_bytes())).await?;
    Ok(())
}

/// Opens the session on the server, or its pooler, and passes on what it says until it is ready.
async fn open(
    proxy: &Proxy,
    tls: &mut TlsStream<TcpStream>,
    startup: &Startup,
    socket: PathBuf,
) -> Result<Session, End> {
    let mut server = UnixStream::connect(&socket)
        .await
        .map_err(|error| not_woken(anyhow::Error::from(error).into()))?;
    wire::send(&mut server, &startup.encode()).await?;
    let mut key = None;
    loop {
        let message = wire::read_message(&mut server).await?;
        relay(tls, &message).await?;
        match message.tag {
            b'K' => key = Some(proxy.cancel_keys.register(message.body, &socket)),
            b'Z' => return Ok(Session { server, _key: key }),
            // The server's refusal, for instance an unknown database, has been passed on.
            b'E' => return Err(End::Silent),
            _ => {}
        }
    }
}

async fn relay(to: &mut (impl AsyncWrite + Unpin), message: &wire::Message) -> io::Result<()> {
    wire::send(to, &wire::message(message.tag, &message.body)).await
}

async fn read_password_message(tls: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, End> {
    let message = wire::read_message(tls).await?;
    if message.tag != b'p' {
        return Err(Fatal::protocol("expected SASL response").into());
    }
    Ok(message.body)
}

/// Mechanism and data of the first SASL message.
fn initial_response(body: &[u8]) -> Option<(&str, &str)> {
    let (mechanism, rest) = wire::split_text(body)?;
    let (_length, data) = wire::split_u32(rest)?;
    Some((mechanism, std::str::from_utf8(data).ok()?))
}

/// Passes a cancel request on to the server that gave out its key. No answer, as in PostgreSQL.
async fn cancel(proxy: &Proxy, key: &[u8]) -> End {
    if let Some(socket) = proxy.cancel_keys.server(key)
        && let Ok(mut server) = UnixStream::connect(socket).await
    {
        proxy.control.recorder.cancel_request();
        if wire::send(&mut server, &startup::cancel_request(key))
            .await
            .is_ok()
        {
            // The server closes when it has signalled; clients wait for that.
            tokio::io::AsyncReadExt::read_u8(&mut server).await.ok();
        }
    }
    End::Cancelled
}

fn refused(user: &str, failure: &Failure) -> Fatal {
    match failure {
        Failure::WrongPassword => Fatal::new(
            "28P01",
            format!("password authentication failed for user \"{user}\""),
        ),
        Failure::Malformed(what) => Fatal::protocol(format!("malformed SCRAM message: {what}")),
    }
}

fn unknown_endpoint() -> Fatal {
    Fatal::new(
        "XX000",
        "The requested endpoint could not be found, or you don't have access to it. \
         Please check the provided ID and try again.",
    )
}

fn not_woken(error: WakeError) -> Fatal {
    match error {
        WakeError::NotFound => unknown_endpoint(),
        WakeError::Disabled => Fatal::new(
            "XX000",
            "The endpoint has been disabled. Enable it using Neon API and retry.",
        ),
        WakeError::NotReady => couldnt_connect(),
        WakeError::NoRoom => Fatal::new(
            "XX000",
            "You have exceeded the limit of concurrently active endpoints. \
             Please suspend some endpoints and try again.",
        ),
        WakeError::Exhausted => Fatal::new("XX000", QUOTA_EXCEEDED),
        WakeError::Failed(error) => {
            tracing::error!(error = format!("{error:#}"), "a connection got no compute");
            couldnt_connect()
        }
    }
}

fn couldnt_connect() -> Fatal {
    Fatal::new("XX000", "Couldn't connect to compute node")
}
