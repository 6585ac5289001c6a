//! The sink's own process.
//!
//! Written by hand on tokio-rustls, so that it costs little beside what is measured and is never the bottleneck.

use std::cell::RefCell;
use std::io::{self, BufRead as _, Write as _};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use memchr::memmem;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

use super::{CA_FILE, HOSTS};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
/// A request is some 600 bytes.
const BUFFER_BYTES: usize = 2048;
/// Connections that may wait to be accepted: a thousand lanes begin at once.
const ACCEPT_QUEUE: u32 = 4096;

/// What the sink knows.
#[derive(Default)]
struct Books {
    requests: u64,
    last: Vec<u8>,
    /// `None` while nothing is watched.
    arrivals: Option<Vec<(u64, u64)>>,
}

enum Behaviour {
    Answer(Duration),
    Hang,
}

struct Head {
    length: usize,
    behaviour: Behaviour,
    number: Option<u64>,
}

/// Serves until stdin ends.
pub fn run(folder: &str) -> Result<(), String> {
    let acceptor = TlsAcceptor::from(Arc::new(tls(folder)?));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    LocalSet::new().block_on(&runtime, serve(acceptor)).map_err(|error| error.to_string())
}

async fn serve(acceptor: TlsAcceptor) -> io::Result<()> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind(([0, 0, 0, 0], 0).into())?;
    let listener = socket.listen(ACCEPT_QUEUE)?;
    println!("{}", listener.local_addr()?.port());
    let books = Rc::<RefCell<Books>>::default();
    tokio::task::spawn_local(accept_all(listener, acceptor, Rc::clone(&books)));
    let mut questions = stdin();
    while let Some(question) = questions.recv().await {
        let answer = books.borrow_mut().answer(&question);
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{answer}")?;
        stdout.flush()?;
    }
    Ok(())
}

fn stdin() -> mpsc::Receiver<String> {
    let (sender, questions) = mpsc::channel(1);
    std::thread::spawn(move || {
        let lines = io::stdin().lock().lines().map_while(Result::ok);
        lines.take_while(|line| sender.blocking_send(line.clone()).is_ok()).for_each(drop);
    });
    questions
}

async fn accept_all(listener: TcpListener, acceptor: TlsAcceptor, books: Rc<RefCell<Books>>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (acceptor, books) = (acceptor.clone(), Rc::clone(&books));
                tokio::task::spawn_local(async move {
                    // A client that goes away is no fault of the sink.
                    let _ = converse(stream, acceptor, &books).await;
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn converse(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    books: &RefCell<Books>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut tls = acceptor.accept(stream).await?;
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        while let Some(head) = Head::of(&buffer) {
            books.borrow_mut().enter(&head, &buffer[..head.length]);
            match head.behaviour {
                Behaviour::Hang => {
                    while tls.read(&mut [0; 64]).await? > 0 {}
                    return Ok(());
                }
                Behaviour::Answer(Duration::ZERO) => {}
                Behaviour::Answer(after) => tokio::time::sleep(after).await,
            }
            tls.write_all(ANSWER).await?;
            tls.flush().await?;
            buffer.drain(..head.length);
        }
        if tls.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

impl Head {
    /// The request at the beginning of the buffer, once it is whole.
    fn of(buffer: &[u8]) -> Option<Self> {
        let head_bytes = memmem::find(buffer, b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&buffer[..head_bytes]).ok()?;
        let mut lines = head.split("\r\n");
        let path = lines.next()?.split(' ').nth(1)?;
        let body_bytes = lines
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.parse::<usize>().ok())
            .unwrap_or(0);
        let length = head_bytes + body_bytes;
        let body = buffer.get(head_bytes..length)?;
        let behaviour = match path.split('/').nth(1)? {
            "hang" => Behaviour::Hang,
            millis => Behaviour::Answer(Duration::from_millis(millis.parse().ok()?)),
        };
        Some(Self { length, behaviour, number: number(body) })
    }
}

/// The event's number, which is its profile's.
fn number(body: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"\"profile_id\":";
    let digits = &body[memmem::find(body, NAME)? + NAME.len()..];
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

impl Books {
    fn enter(&mut self, head: &Head, request: &[u8]) {
        self.requests += 1;
        self.last.clear();
        self.last.extend_from_slice(request);
        if let (Some(arrivals), Some(number)) = (&mut self.arrivals, head.number) {
            arrivals.push((number, micros()));
        }
    }

    fn answer(&mut self, question: &str) -> String {
        match question.split_once(' ') {
            Some(("dump", path)) => {
                let bytes: Vec<u8> = self
                    .arrivals
                    .take()
                    .unwrap_or_default()
                    .into_iter()
                    .flat_map(|(number, at)| [number.to_le_bytes(), at.to_le_bytes()].concat())
                    .collect();
                std::fs::write(path, bytes)
                    .map_or_else(|error| error.to_string(), |()| String::new())
            }
            _ if question == "watch" => {
                self.arrivals = Some(Vec::new());
                String::new()
            }
            _ if question == "sample" => {
                serde_json::Value::from(String::from_utf8_lossy(&self.last)).to_string()
            }
            _ => self.requests.to_string(),
        }
    }
}

/// Microseconds of the wall clock, which all processes of a run share.
pub fn micros() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// A certificate that is its own authority, for all hosts of the sink.
fn tls(folder: &str) -> Result<ServerConfig, String> {
    let hosts = (1..=HOSTS).map(|host| format!("127.0.1.{host}"));
    let names: Vec<String> = hosts.chain(["127.0.0.1".to_owned()]).collect();
    let own = rcgen::generate_simple_self_signed(names).map_err(|error| error.to_string())?;
    let path = std::path::Path::new(folder).join(CA_FILE);
    std::fs::write(path, own.cert.pem()).map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder.with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key)
        })
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
