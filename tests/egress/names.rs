//! A name server that lies: what it says depends on the first label of the name, and on how often it was asked.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// Where it listens; the namespace's resolv.conf names it.
pub const ADDRESS: &str = "127.0.0.53";

/// Names whose addresses must never be called, with all that is said of them.
pub const DENIED: [(&str, &[&str]); 19] = [
    ("loopback", &["127.0.0.1"]),
    ("private", &["10.9.9.9"]),
    ("metadata", &["169.254.169.254"]),
    ("alibaba", &["100.100.100.200"]),
    ("azure", &["168.63.129.16"]),
    ("nothing", &["0.0.0.0"]),
    ("multicast", &["224.0.0.1"]),
    ("broadcast", &["255.255.255.255"]),
    ("mixed", &["93.184.216.34", "127.0.0.1"]),
    ("mixed6", &["93.184.216.34", "::1"]),
    ("mapped", &["::ffff:127.0.0.1"]),
    ("nat64", &["64:ff9b::7f00:1"]),
    ("sixtofour", &["2002:7f00:1::1"]),
    ("compatible", &["::127.0.0.1"]),
    ("ula", &["fd00::1"]),
    ("linklocal", &["fe80::1"]),
    ("unallocated", &["4000::1"]),
    ("own", &["198.41.0.4"]),
    ("broker", &["8.8.4.4"]),
];

/// Some two thousand fit into one message.
const MANY: u32 = 1900;
/// What fits into a UDP answer that says nothing else.
const UDP_BYTES: usize = 1200;

/// How often each question was asked.
type Asked = Arc<Mutex<BTreeMap<String, usize>>>;

/// Serves until the runtime ends. When it returns, it can be asked.
pub async fn serve() {
    let at = SocketAddr::new(ADDRESS.parse().unwrap(), 53);
    let (udp, tcp) = (UdpSocket::bind(at).await.unwrap(), TcpListener::bind(at).await.unwrap());
    let asked = Asked::default();
    let asked_over_tcp = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
            let Some(mut reply) = reply(&buffer[..length], &asked) else { continue };
            let mut bytes = reply.to_vec().unwrap();
            if bytes.len() > UDP_BYTES {
                reply.answers.clear();
                reply.metadata.truncation = true;
                bytes = reply.to_vec().unwrap();
            }
            udp.send_to(&bytes, from).await.unwrap();
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let asked = Arc::clone(&asked_over_tcp);
            tokio::spawn(async move {
                while let Ok(length) = stream.read_u16().await {
                    let mut question = vec![0; usize::from(length)];
                    stream.read_exact(&mut question).await.unwrap();
                    let Some(reply) = reply(&question, &asked) else { continue };
                    let bytes = reply.to_vec().unwrap();
                    stream.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
                    stream.write_all(&bytes).await.unwrap();
                }
            });
        }
    });
}

fn reply(question: &[u8], asked: &Asked) -> Option<Message> {
    let question = Message::from_vec(question).unwrap();
    let query = question.queries[0].clone();
    let label = query.name().to_string().to_ascii_lowercase();
    let label = label.split('.').next().unwrap_or_default().to_owned();
    let mut asked = asked.lock().unwrap();
    let times = asked.entry(query.to_string()).or_default();
    *times += 1;
    let addresses: Vec<IpAddr> = match label.as_str() {
        "silent" => return None,
        "good" | "other" => addresses(&["93.184.216.34"]),
        "good6" => addresses(&["2001:200::1"]),
        // Public at the first look, and then us.
        "rebound" if *times == 1 => addresses(&["93.184.216.34"]),
        "rebound" => addresses(&["127.0.0.1"]),
        "many" => (0..MANY).map(|n| Ipv4Addr::from_bits(0x5db8_0000 + n).into()).collect(),
        "alias" => Vec::new(),
        label => {
            DENIED.iter().find(|(name, _)| *name == label).map_or(vec![], |(_, all)| addresses(all))
        }
    };
    let mut reply = question.into_response();
    let mut add = |data| {
        reply.add_answer(Record::from_rdata(query.name().clone(), 0, data));
    };
    for address in &addresses {
        match (address, query.query_type()) {
            (IpAddr::V4(v4), RecordType::A) => add(RData::A((*v4).into())),
            (IpAddr::V6(v6), RecordType::AAAA) => add(RData::AAAA((*v6).into())),
            _ => {}
        }
    }
    if label == "alias" {
        add(RData::CNAME(CNAME(Name::from_ascii("localhost.").unwrap())));
    } else if addresses.is_empty() {
        reply.metadata.response_code = ResponseCode::NXDomain;
    }
    Some(reply)
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}
