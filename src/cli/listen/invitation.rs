//! What `listen` tells its user at the start: where it is, and what Barnabas needs to be allowed to deliver there.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::{Value, json};

use crate::demo::receiver::Credentials;

/// The port that is allowed without being asked for.
const HTTPS_PORT: u16 = 443;

/// The project of the sample connection, the one that `barnabas trigger` writes for.
const PROJECT: &str = "4172";

/// The sample connection's id.
const CONNECTION: &str = "listen";

/// Everything that the catalog has by default.
const EVENTS: [&str; 6] = [
    "message_send",
    "message_delivery",
    "message_open",
    "message_click",
    "message_failure",
    "message_unsubscribe",
];

/// Likewise.
const CHANNELS: [&str; 8] =
    ["mobile_push", "web_push", "in_app", "on_site", "inbox", "email", "sms", "webhook"];

/// Where a listening receiver is and what it asks for.
pub(super) struct Invitation<'a> {
    pub(super) url: String,
    pub(super) address: SocketAddr,
    pub(super) ca_file: &'a Path,
    pub(super) credentials: &'a Credentials,
    /// For the sample connection, in UNIX seconds: earlier events are not for it.
    pub(super) created_at: i64,
}

impl Invitation<'_> {
    /// A connection record that delivers here.
    fn connection(&self) -> Connection<'_> {
        Connection {
            schema: 1,
            project_id: PROJECT,
            connection_id: CONNECTION,
            revision: 1,
            name: "barnabas listen",
            status: "active",
            url: &self.url,
            auth: self.auth(),
            events: EVENTS,
            channels: CHANNELS,
            created_at: self.created_at,
            updated_at: self.created_at,
            updated_by: "barnabas listen",
        }
    }

    /// A connection always has credentials; where none are checked, any will do.
    fn auth(&self) -> Value {
        match self.credentials {
            Credentials::Anyone => {
                json!({"type": "basic", "username": "anyone", "password": "anything"})
            }
            Credentials::Basic { username, password } => {
                json!({"type": "basic", "username": username, "password": password.expose_secret()})
            }
            Credentials::Bearer { token } => {
                json!({"type": "bearer", "token": token.expose_secret()})
            }
        }
    }
}

impl fmt::Display for Invitation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ip, port) = (self.address.ip(), self.address.port());
        let prefix = if ip.is_ipv4() { 32 } else { 128 };
        let ports = if port == HTTPS_PORT { vec![port] } else { vec![HTTPS_PORT, port] };
        // A JSON text is a TOML text too, whatever the path holds.
        let ca_file = Value::from(self.ca_file.display().to_string());
        writeln!(f, "listening on {} and every other path", self.url)?;
        writeln!(f, "its certificate authority is in {}", self.ca_file.display())?;
        writeln!(f, "\nto let barnabas deliver here, configure\n")?;
        writeln!(f, "  [egress]")?;
        writeln!(f, "  allow = [\"{ip}/{prefix}\"]")?;
        writeln!(f, "  ports = {ports:?}")?;
        writeln!(f, "  ca_file = {ca_file}\n")?;
        writeln!(f, "  [connections]")?;
        writeln!(f, "  plaintext_secrets = \"accept\"\n")?;
        let connection = self.connection();
        let draft = json!({"name": connection.name, "url": connection.url, "auth": connection.auth,
            "events": connection.events, "channels": connection.channels});
        writeln!(f, "and make a connection by the admin API: put this into a file and run")?;
        writeln!(f, "barnabas connections put --project {PROJECT} -f FILE\n")?;
        writeln!(f, "  {draft}\n")?;
        writeln!(
            f,
            "or write it to the connections topic, with the key {PROJECT}/{CONNECTION}:\n"
        )?;
        let record = serde_json::to_string(&connection).map_err(|_| fmt::Error)?;
        writeln!(f, "  {record}\n")
    }
}

/// A record of the connections topic, its fields in the order of the contract.
#[derive(Serialize)]
struct Connection<'a> {
    schema: u8,
    project_id: &'a str,
    connection_id: &'a str,
    revision: u64,
    name: &'a str,
    status: &'a str,
    url: &'a str,
    auth: Value,
    events: [&'a str; 6],
    channels: [&'a str; 8],
    created_at: i64,
    updated_at: i64,
    updated_by: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation(credentials: &Credentials) -> String {
        let address: SocketAddr = "127.0.0.1:8443".parse().unwrap();
        let invitation = Invitation {
            url: format!("https://{address}/webhook"),
            address,
            ca_file: Path::new("/tmp/a \"b\"/ca.pem"),
            credentials,
            created_at: 1_760_090_581,
        };
        invitation.to_string()
    }

    #[test]
    fn it_names_every_key_that_is_needed() {
        insta::assert_snapshot!(invitation(&Credentials::basic("xp", "secret")), @r#"
        listening on https://127.0.0.1:8443/webhook and every other path
        its certificate authority is in /tmp/a "b"/ca.pem

        to let barnabas deliver here, configure

          [egress]
          allow = ["127.0.0.1/32"]
          ports = [443, 8443]
          ca_file = "/tmp/a \"b\"/ca.pem"

          [connections]
          plaintext_secrets = "accept"

        and make a connection by the admin API: put this into a file and run
        barnabas connections put --project 4172 -f FILE

          {"auth":{"password":"secret","type":"basic","username":"xp"},"channels":["mobile_push","web_push","in_app","on_site","inbox","email","sms","webhook"],"events":["message_send","message_delivery","message_open","message_click","message_failure","message_unsubscribe"],"name":"barnabas listen","url":"https://127.0.0.1:8443/webhook"}

        or write it to the connections topic, with the key 4172/listen:

          {"schema":1,"project_id":"4172","connection_id":"listen","revision":1,"name":"barnabas listen","status":"active","url":"https://127.0.0.1:8443/webhook","auth":{"password":"secret","type":"basic","username":"xp"},"events":["message_send","message_delivery","message_open","message_click","message_failure","message_unsubscribe"],"channels":["mobile_push","web_push","in_app","on_site","inbox","email","sms","webhook"],"created_at":1760090581,"updated_at":1760090581,"updated_by":"barnabas listen"}
        "#);
    }

    #[test]
    fn a_connection_has_credentials_even_where_none_are_checked() {
        assert!(invitation(&Credentials::Anyone).contains(r#""username":"anyone""#));
        assert!(invitation(&Credentials::bearer("abc")).contains(r#""token":"abc""#));
    }
}
