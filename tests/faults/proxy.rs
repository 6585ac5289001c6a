//! A TCP proxy that delays, cuts, starves and freezes what goes through it.
//!
//! It knows nothing of what it carries. A thread and a runtime of its own; dropping it closes everything.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const CHUNK: usize = 16 * 1024;
/// Between the drops of a slow line.
const DRIP: Duration = Duration::from_millis(20);
/// Bytes of a drop.
const DROP: usize = 512;

/// What is done to the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    Good,
    /// Everything comes so much later.
    Delayed(Duration),
    /// A few bytes at a time.
    Slow,
    /// Nothing goes through, nothing is closed.
    HalfOpen,
    /// Every connection is reset, and every new one.
    Cut,
}

#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    line: watch::Sender<Line>,
    target: watch::Sender<Option<SocketAddr>>,
    torn: Arc<AtomicU64>,
}

impl Proxy {
    pub fn start() -> std::io::Result<Self> {
        let listener = StdListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (line, lines) = watch::channel(Line::Good);
        let (target, targets) = watch::channel(None);
        let torn = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&torn);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("proxy".to_owned()).spawn(move || {
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("it does not block");
                accept(listener, lines, targets, counter).await;
            });
        })?;
        Ok(Self { address, line, target, torn })
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn lead_to(&self, target: SocketAddr) {
        self.target.send_replace(Some(target));
    }

    pub fn set(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Connections that ended while the line was bad: each may have lost an answer.
    pub fn take_torn(&self) -> u64 {
        self.torn.swap(0, Ordering::Relaxed)
    }
}

async fn accept(
    listener: TcpListener,
    lines: watch::Receiver<Line>,
    targets: watch::Receiver<Option<SocketAddr>>,
    torn: Arc<AtomicU64>,
) {
    let mut ended = lines.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Whoever held the proxy is gone.
            () = closed(&mut ended) => return,
        };
        let Ok((client, _)) = accepted else {
            tokio::time::sleep(DRIP).await;
            continue;
        };
        let Some(target) = *targets.borrow() else { continue };
        tokio::spawn(carry(client, target, lines.clone(), Arc::clone(&torn)));
    }
}

async fn closed(lines: &mut watch::Receiver<Line>) {
    while lines.changed().await.is_ok() {}
}

async fn carry(
    client: TcpStream,
    target: SocketAddr,
    mut lines: watch::Receiver<Line>,
    torn: Arc<AtomicU64>,
) {
    let Ok(server) = TcpStream::connect(target).await else { return reset(&client) };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    reset(&client);
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    let (there, back) = (lines.clone(), lines.clone());
    tokio::select! {
        () = copy(from_client, to_server, there) => {}
        () = copy(from_server, to_client, back) => {}
        _ = lines.wait_for(|line| *line == Line::Cut) => {}
    }
    if *lines.borrow() != Line::Good {
        torn.fetch_add(1, Ordering::Relaxed);
    }
}

/// Its end will be a reset and not a close.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut lines: watch::Receiver<Line>) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let size = if *lines.borrow() == Line::Slow { DROP } else { CHUNK };
        let Ok(read @ 1..) = from.read(&mut buffer[..size]).await else { return };
        let line = *lines.borrow();
        match line {
            Line::Good | Line::Cut => {}
            Line::Delayed(time) => tokio::time::sleep(time).await,
            Line::Slow => tokio::time::sleep(DRIP).await,
            Line::HalfOpen => {
                if lines.wait_for(|line| *line != Line::HalfOpen).await.is_err() {
                    return;
                }
            }
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
