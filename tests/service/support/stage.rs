//! A test's own topics, group, receiver and configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use barnabas::demo::receiver::{Authority, Behaviour, Keep, Receiver};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::eventually;
use super::kafka;
use super::log::{self, Log};
use super::service::{PROGRAM, Service};

/// The project of all events and connections, unless a test says otherwise.
pub const PROJECT: &str = "4172";

type Producer = ThreadedProducer<rdkafka::producer::DefaultProducerContext>;

/// A stage of a test's own.
pub struct Stage {
    pub receiver: Receiver,
    pub name: String,
    pub bootstrap: String,
    folder: TempDir,
    producer: Producer,
    instances: AtomicU32,
    settings: String,
}

impl Stage {
    /// On the broker of the run; `None` where tests that need it are skipped.
    pub fn new(test: &str, settings: &str) -> Option<Self> {
        let stage = Self::on(kafka::shared()?, test, settings);
        stage.create_topics();
        Some(stage)
    }

    /// On that broker, without topics. `settings` are lines of TOML; `retry.schedule` is short unless they say so.
    pub fn on(bootstrap: &str, test: &str, settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::generate().unwrap();
        authority.write_pem(&folder.path().join("ca.pem")).unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let receiver = Receiver::start(listen, Keep::Receipts, &authority).unwrap();
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("linger.ms", "2")
            .set("queue.buffering.max.messages", "1000000")
            .set("reconnect.backoff.max.ms", "500")
            .create()
            .unwrap();
        let stage = Self {
            receiver,
            name: format!("{test}-{millis}"),
            bootstrap: bootstrap.to_owned(),
            folder,
            producer,
            instances: AtomicU32::new(0),
            settings: settings.to_owned(),
        };
        fs::write(stage.config(), stage.config_text()).unwrap();
        stage
    }

    /// The same stage with further lines of TOML, for those who start on it from now on.
    pub fn with(mut self, settings: &str) -> Self {
        self.settings.push_str(settings);
        fs::write(self.config(), self.config_text()).unwrap();
        self
    }

    /// Makes the topics with the real command.
    pub fn create_topics(&self) {
        let output = self.run(&["topics", "create", "--with-events", "--partitions", "4"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs a command of the program with this stage's configuration.
    pub fn run(&self, arguments: &[&str]) -> std::process::Output {
        Command::new(PROGRAM).args(arguments).arg("--config").arg(self.config()).output().unwrap()
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("barnabas.toml")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn config_text(&self) -> String {
        let admin = if self.settings.contains("[admin]") { "" } else { "[admin]\nlisten = \"\"\n" };
        let schedule = if self.settings.contains("[retry]") {
            ""
        } else {
            "[retry]\nschedule = [\"300ms\", \"700ms\", \"1s\"]\n"
        };
        let mut settings = format!("{}\n", self.settings);
        for (section, own) in
            [("[telemetry]\n", "listen = \"127.0.0.1:0\"\n"), ("[log]\n", "format = \"json\"\n")]
        {
            let whole = format!("{section}{own}");
            if settings.contains(section) {
                settings = settings.replace(section, &whole);
            } else {
                settings.push_str(&whole);
            }
        }
        format!(
            "[kafka]\nbootstrap_servers = \"{}\"\ngroup_id = \"{name}\"\n\
             [topics]\nevents = \"actions.{name}\"\nprefix = \"{name}\"\nreplication_factor = 1\n\
             [egress]\nallow = [\"127.0.0.1/32\"]\nports = [{port}]\nca_file = \"{ca}\"\n\
             {schedule}{admin}{settings}",
            self.bootstrap,
            name = self.name,
            port = self.receiver.address().port(),
            ca = self.folder.path().join("ca.pem").display(),
        )
    }

    /// Starts an instance and waits until it is ready.
    pub fn serve(&self) -> Service {
        self.start().ready()
    }

    /// Starts an instance.
    pub fn start(&self) -> Service {
        self.start_with(&[])
    }

    /// Starts an instance with further settings in its environment.
    pub fn start_with(&self, environment: &[(&str, &str)]) -> Service {
        Service::start(&self.config(), self.next_log(), environment)
    }

    /// Starts an instance with these roles and waits until it is ready.
    pub fn serve_as(&self, roles: &str) -> Service {
        Service::start_as(&self.config(), self.next_log(), &[], &["--roles", roles]).ready()
    }

    fn next_log(&self) -> PathBuf {
        let number = self.instances.fetch_add(1, Ordering::Relaxed);
        self.folder.path().join(format!("serve-{number}.log"))
    }

    /// Writes a connection that wants everything of the project, to a healthy path of its name; `change` may alter
    /// any of it.
    pub fn connect(&self, id: &str, change: Value) {
        self.receiver.set_behaviour(&format!("/{id}"), Behaviour::Healthy);
        self.put(id, change);
    }

    /// Writes a connection's record without touching the receiver.
    pub fn put(&self, id: &str, change: Value) {
        self.put_all([(id.to_owned(), change)]);
    }

    /// Writes the records of many connections without touching the receiver.
    pub fn put_all(&self, all: impl IntoIterator<Item = (String, Value)>) {
        for (id, change) in all {
            let record = self.record(&id, change);
            let key = format!("{}/{id}", record["project_id"].as_str().unwrap());
            self.write(&self.connections(), Some(&key), Some(record.to_string().as_bytes()));
        }
        self.flush();
    }

    fn record(&self, id: &str, change: Value) -> Value {
        let mut record = json!({
            "schema": 1, "project_id": PROJECT, "connection_id": id, "revision": 1, "name": id,
            "status": "active", "url": self.receiver.url(&format!("/{id}")),
            "auth": {"type": "bearer", "token": "t0ken"},
            "events": ["message_open", "message_click", "message_failure", "message_send"],
            "channels": ["email", "mobile_push"],
            "delivery": {"rate_per_second": 10000, "burst": 10000, "max_in_flight": 64, "timeout_seconds": 5},
            "created_at": 1_700_000_000, "updated_at": 1_700_000_000,
        });
        if let (Some(record), Value::Object(change)) = (record.as_object_mut(), change) {
            record.extend(change);
        }
        record
    }

    /// Deletes a connection.
    pub fn delete(&self, id: &str) {
        self.write(&self.connections(), Some(&format!("{PROJECT}/{id}")), None);
        self.flush();
    }

    /// Produces events with these ids, all opened emails.
    pub fn produce(&self, ids: impl Iterator<Item = u64>) {
        for id in ids {
            self.write(&self.events(), None, Some(event(id).to_string().as_bytes()));
        }
        self.flush();
    }

    /// Produces one event whose record has these headers.
    pub fn produce_with(&self, id: u64, headers: &[(&str, &str)]) {
        let value = event(id).to_string();
        let owned = headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(rdkafka::message::Header { key, value: Some(*value) })
        });
        let topic = self.events();
        let record = BaseRecord::<str, [u8]>::to(&topic).payload(value.as_bytes()).headers(owned);
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
        self.flush();
    }

    /// Produces one event without waiting for the broker.
    pub fn send(&self, id: u64) {
        self.write(&self.events(), None, Some(event(id).to_string().as_bytes()));
    }

    /// Produces one value as it is.
    pub fn produce_raw(&self, value: Option<&[u8]>) {
        self.write(&self.events(), None, value);
        self.flush();
    }

    pub fn events(&self) -> String {
        format!("actions.{}", self.name)
    }

    pub fn connections(&self) -> String {
        format!("{}.connections", self.name)
    }

    pub fn dead_letters(&self) -> Log {
        Log::open(&self.bootstrap, &format!("{}.dead-letters", self.name))
    }

    /// The records of the audit topic, in the order of the changes.
    pub fn audit(&self) -> Vec<Value> {
        let values = log::committed_values(&self.bootstrap, &format!("{}.audit", self.name));
        values.iter().map(|value| serde_json::from_slice(value).unwrap()).collect()
    }

    /// Deletes one of our topics, and waits until the broker has.
    pub fn delete_topic(&self, name: &str) {
        let topic = format!("{}.{name}", self.name);
        let admin: AdminClient<_> =
            ClientConfig::new().set("bootstrap.servers", &self.bootstrap).create().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let deleted = runtime.block_on(admin.delete_topics(&[&topic], &AdminOptions::new()));
        deleted.unwrap().remove(0).unwrap();
        eventually("the topic is gone", || {
            let metadata = admin.inner().fetch_metadata(None, Duration::from_secs(10)).unwrap();
            metadata.topics().iter().all(|one| one.name() != topic).then_some(())
        });
    }

    /// Gives a topic these settings and no others.
    pub fn set_topic(&self, topic: &str, settings: &[(&str, &str)]) {
        let admin: AdminClient<_> =
            ClientConfig::new().set("bootstrap.servers", &self.bootstrap).create().unwrap();
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic));
        let change = settings.iter().fold(change, |change, (key, value)| change.set(key, value));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let altered = runtime.block_on(admin.alter_configs([&change], &AdminOptions::new()));
        altered.unwrap().remove(0).unwrap();
    }

    pub fn attempts(&self) -> Log {
        Log::open(&self.bootstrap, &format!("{}.attempts", self.name))
    }

    pub fn tier(&self, delay: &str) -> Log {
        Log::open(&self.bootstrap, &format!("{}.retry.{delay}", self.name))
    }

    fn write(&self, topic: &str, key: Option<&str>, value: Option<&[u8]>) {
        let headers = OwnedHeaders::new()
            .insert(rdkafka::message::Header { key: "x-source", value: Some("campaign") });
        let mut record = BaseRecord::<str, [u8]>::to(topic).headers(headers);
        record.key = key;
        record.payload = value;
        while let Err((error, back)) = self.producer.send(record) {
            assert!(error.to_string().contains("Queue full"), "{error}");
            self.flush();
            record = back;
        }
    }

    fn flush(&self) {
        self.producer.flush(Duration::from_secs(60)).unwrap();
    }
}

/// An opened email.
pub fn event(id: u64) -> Value {
    json!({
        "event_id": format!("e{id}"), "project_id": PROJECT, "event": "message_open", "time": 1_760_090_581,
        "properties": {"message_type": "email", "campaign_id": 245_624, "profile_id": id, "email": "jane.doe@example.com"},
    })
}
