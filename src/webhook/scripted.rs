//! Scripted servers for the tests of this folder: a TLS receiver and a name server on loopback.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::ClientConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::tls::client_config;

/// The receiver's side of one connection, after the handshake.
pub(super) type Stream = TlsStream<TcpStream>;

/// A self-signed certificate, which is its own authority.
pub(super) struct Identity {
    acceptor: TlsAcceptor,
    pem: String,
}

impl Identity {
    /// For these names, valid until the year.
    pub(super) fn new(names: &[&str], until: i32) -> Self {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let key_der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key_der)
        .unwrap();
        Self { acceptor: TlsAcceptor::from(Arc::new(config)), pem: certificate.pem() }
    }

    /// The production configuration with this identity as the operator's authority.
    pub(super) fn trusted(&self) -> Arc<ClientConfig> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &self.pem).unwrap();
        client_config(Some(file.path())).unwrap()
    }
}

/// A TLS server that treats each connection as a script says.
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Receiver {
    /// Listens on a free port of this address; `script` gets the connection's number, from 0.
    pub(super) async fn start<F, Fut>(at: SocketAddr, identity: &Identity, script: F) -> Self
    where
        F: Fn(usize, Stream) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let acceptor = identity.acceptor.clone();
        Self::start_raw(at, move |number, stream| {
            let (acceptor, script) = (acceptor.clone(), script.clone());
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    script(number, stream).await;
                }
            }
        })
        .await
    }

    /// As [`Self::start`], with the bare TCP connection.
    pub(super) async fn start_raw<F, Fut>(at: SocketAddr, script: F) -> Self
    where
        F: Fn(usize, TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(script(count.fetch_add(1, Ordering::Relaxed), stream));
            }
        });
        Self { address, accepted }
    }

    /// How many TCP connections have been accepted.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

/// Reads one request; its head in lower case as one text and its body, or nothing at the end.
pub(super) async fn read_request(stream: &mut Stream) -> Option<(String, Vec<u8>)> {
    let mut read = Vec::new();
    let head_end = loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(read[..head_end].to_vec()).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let total = head_end + length.parse::<usize>().unwrap();
    while read.len() < total {
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, read[head_end..].to_vec()))
}

/// Answers each request with this text until the client leaves.
pub(super) async fn answer_all(mut stream: Stream, answer: &'static str) {
    while read_request(&mut stream).await.is_some() {
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// What a scripted name server says of a name.
pub(super) enum NameAnswer {
    Addresses(Vec<IpAddr>),
    Alias(&'static str),
    NoSuchName,
    Silence,
}

/// A name server over UDP; nothing it says may be remembered. Like all name servers it has an
/// answer about the root zone, whatever its script.
pub(super) struct NameServer {
    pub(super) address: SocketAddr,
}

impl NameServer {
    /// `script` gets how often the name's record type has been asked for, from 0.
    pub(super) async fn start<F>(script: F) -> Self
    where
        F: Fn(usize) -> NameAnswer + Send + 'static,
    {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut asked: BTreeMap<String, usize> = BTreeMap::new();
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let question = Message::from_vec(&buffer[..length]).unwrap();
                let times = asked.entry(question.queries[0].to_string()).or_default();
                let is_about_root = question.queries[0].query_type() == RecordType::NS;
                let answer = if is_about_root { NameAnswer::NoSuchName } else { script(*times) };
                if let Some(reply) = reply(question, answer) {
                    socket.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
                }
                *times += 1;
            }
        });
        Self { address }
    }
}

fn reply(question: Message, answer: NameAnswer) -> Option<Message> {
    let query = question.queries[0].clone();
    let mut reply = question.into_response();
    let mut add = |data| {
        reply.add_answer(Record::from_rdata(query.name().clone(), 0, data));
    };
    match answer {
        NameAnswer::Addresses(addresses) => {
            for address in addresses {
                match (address, query.query_type()) {
                    (IpAddr::V4(v4), RecordType::A) => add(RData::A(v4.into())),
                    (IpAddr::V6(v6), RecordType::AAAA) => add(RData::AAAA(v6.into())),
                    _ => {}
                }
            }
        }
        NameAnswer::Alias(name) => add(RData::CNAME(CNAME(Name::from_ascii(name).unwrap()))),
        NameAnswer::NoSuchName => reply.metadata.response_code = ResponseCode::NXDomain,
        NameAnswer::Silence => return None,
    }
    Some(reply)
}
