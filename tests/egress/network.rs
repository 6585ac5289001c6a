//! The network of a test: good receivers on public addresses, honeypots wherever nobody may ever call.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{names, namespace};

const GOOD: [&str; 2] = ["93.184.216.34", "2001:200::1"];
/// On no interface, but this host answers for them.
const HONEYPOTS: [&str; 12] = [
    "127.0.0.1",
    "10.9.9.9",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "8.8.4.4",
    "8.8.8.8",
    "::1",
    "fd00::1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::1",
    "4000::1",
];
/// On an interface of this host.
pub const OWN: &str = "198.41.0.4";
/// A public address that no name has and only the broker list names.
pub const BROKER: &str = "8.8.4.4";

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Everything that listens: one listener on all addresses, which notes where each connection was meant to go.
pub struct Network {
    folder: TempDir,
    acceptor: TlsAcceptor,
    good: Vec<IpAddr>,
    honeypots: Vec<IpAddr>,
    accepted: Accepted,
}

/// How many connections were accepted at each address.
type Accepted = Arc<Mutex<BTreeMap<IpAddr, usize>>>;

impl Network {
    /// Sets everything up in the namespace that this process is in.
    pub async fn new() -> Self {
        let is_there = |address: &&&str| namespace::has_ipv6() || !address.contains(':');
        let good: Vec<_> = GOOD.iter().filter(is_there).copied().collect();
        let mut honeypots: Vec<_> = HONEYPOTS.iter().filter(is_there).copied().collect();
        let is_loopback = |address: &&str| *address == "127.0.0.1" || *address == "::1";
        let local: Vec<_> =
            good.iter().chain(&honeypots).filter(|one| !is_loopback(one)).copied().collect();
        namespace::set_up(&local, &[&format!("{OWN}/32")]);
        namespace::replace("/etc/resolv.conf", &format!("nameserver {}\n", names::ADDRESS));
        namespace::replace("/etc/hosts", "127.0.0.1 localhost\n10.9.9.9 listed.example.com\n");
        names::serve().await;
        honeypots.push(OWN);

        let folder = tempfile::tempdir().unwrap();
        let acceptor = acceptor(&folder.path().join("ca.pem"));
        let everywhere = if namespace::has_ipv6() { "[::]:443" } else { "0.0.0.0:443" };
        let accepted = listen(everywhere, acceptor.clone()).await;
        let parsed = |texts: Vec<&str>| texts.iter().map(|text| text.parse().unwrap()).collect();
        Self { folder, acceptor, good: parsed(good), honeypots: parsed(honeypots), accepted }
    }

    /// The certificate of all receivers, honeypots included: nobody is saved by TLS.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Answers each request at this port of the good address with a head and then the same piece for ever. Counts what
    /// clients have left behind.
    pub async fn flood(
        &self,
        port: u16,
        head: &'static str,
        piece: &'static [u8],
    ) -> Arc<AtomicUsize> {
        let listener = TcpListener::bind((GOOD[0], port)).await.unwrap();
        let (left, acceptor) = (Arc::new(AtomicUsize::new(0)), self.acceptor.clone());
        let count = Arc::clone(&left);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = acceptor.accept(stream).await.unwrap();
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
                let mut is_there = stream.write_all(head.as_bytes()).await.is_ok();
                while is_there {
                    is_there = stream.write_all(piece).await.is_ok();
                }
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        left
    }

    /// How many connections the good receivers have accepted.
    pub fn accepted(&self) -> usize {
        let accepted = self.accepted.lock().unwrap();
        self.good.iter().filter_map(|address| accepted.get(address)).sum()
    }

    /// Nobody has connected to anything but a good receiver.
    pub fn assert_untouched(&self) {
        let mut others = self.accepted.lock().unwrap().clone();
        others.retain(|address, _| !self.good.contains(address));
        assert!(others.is_empty(), "honeypots were called: {others:?}");
    }

    /// The honeypots do accept: else their silence would say nothing.
    pub async fn assert_they_bite(self) {
        for &address in &self.honeypots {
            drop(TcpStream::connect(SocketAddr::new(address, 443)).await.unwrap());
            while !self.accepted.lock().unwrap().contains_key(&address) {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Answers each request, and counts the connections.
async fn listen(at: &str, acceptor: TlsAcceptor) -> Accepted {
    let listener = TcpListener::bind(at).await.unwrap_or_else(|error| panic!("{at}: {error}"));
    let accepted = Accepted::default();
    let counts = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let meant = stream.local_addr().unwrap().ip().to_canonical();
            *counts.lock().unwrap().entry(meant).or_default() += 1;
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut buffer = [0; 4096];
                // The requests of these tests come in one piece.
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    if stream.write_all(ANSWER).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    accepted
}

fn acceptor(ca_file: &std::path::Path) -> TlsAcceptor {
    let names = ["*.example.com", "0.0.0.0", "127.0.0.1", "8.8.8.8"].map(str::to_owned).to_vec();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    std::fs::write(ca_file, certificate.pem()).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
