//! The form of a connection, for making and for editing it: its fields with their values, their help and what is wrong
//! with them. Fills `connection_form.html`. A secret goes in and never comes out.

use super::ago::ago;
use super::values::{AuthKind, LIMITS, Values};
use crate::admin::connections::{AuthView, Connections};
use crate::engine::catalog::Names;
use crate::engine::connection::Fault;
use crate::engine::time::Timestamp;

/// The elements that come before the limits, as they stand on the page.
const ORDER: [&str; 7] =
    ["name", "url", "username", "password", "token", "all-events", "all-channels"];

/// The form.
#[derive(Debug)]
pub(super) struct ConnectionForm {
    /// Where it is sent.
    pub(super) action: String,
    /// Where it is asked what the choice would have matched.
    pub(super) preview: String,
    pub(super) button: &'static str,
    /// A hidden field: the revision that is edited, or what makes a new connection once.
    pub(super) hidden: (&'static str, String),
    pub(super) name: Field,
    pub(super) url: Field,
    pub(super) is_bearer: bool,
    pub(super) username: Field,
    pub(super) password: Field,
    pub(super) token: Field,
    pub(super) groups: [Group; 2],
    pub(super) limits: Vec<Field>,
    /// Whether the part with the limits is open.
    pub(super) shows_limits: bool,
    /// Where each fault is (an element's id) and what it says.
    pub(super) summary: Vec<(String, String)>,
}

/// One field with its label.
#[derive(Debug, Default)]
pub(super) struct Field {
    pub(super) id: &'static str,
    pub(super) label: &'static str,
    pub(super) kind: &'static str,
    pub(super) value: String,
    pub(super) help: String,
    pub(super) placeholder: String,
    pub(super) is_required: bool,
    pub(super) fault: Option<String>,
}

/// Names to choose from.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: &'static str,
    pub(super) legend: &'static str,
    pub(super) help: &'static str,
    pub(super) choices: Vec<Choice>,
    pub(super) fault: Option<String>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) name: String,
    pub(super) label: String,
    pub(super) is_chosen: bool,
}

impl ConnectionForm {
    /// With these values. `kept` is how the connection proves itself so far.
    pub(super) fn new(
        service: &Connections,
        values: Values,
        kept: Option<&AuthView>,
        now: Timestamp,
    ) -> Self {
        let catalog = service.catalog();
        let secret = |kind: &str| match kept.filter(|kept| kept.kind == kind) {
            Some(AuthView { secret_set_at: Some(set_at), .. }) => {
                format!("Set {}; leave blank to keep.", ago(*set_at, now))
            }
            Some(_) => "Leave blank to keep.".to_owned(),
            None => String::new(),
        };
        let shows_limits = values.limits.iter().any(|limit| !limit.is_empty());
        Self {
            action: String::new(),
            preview: String::new(),
            button: "",
            hidden: ("", String::new()),
            name: Field {
                help: "What you and your colleagues will call it.".to_owned(),
                is_required: true,
                ..Field::new("name", "Name", "text", values.name)
            },
            url: Field {
                help: "The full URL, starting with https://".to_owned(),
                placeholder: "https://hooks.example.com/campaigns".to_owned(),
                is_required: true,
                ..Field::new("url", "URL", "url", values.url)
            },
            is_bearer: values.auth == AuthKind::Bearer,
            username: Field::new("username", "Username", "text", values.username),
            password: Field {
                help: secret("basic"),
                ..Field::new("password", "Password", "password", String::new())
            },
            token: Field {
                help: secret("bearer"),
                ..Field::new("token", "Token", "password", String::new())
            },
            groups: [
                Group {
                    id: "events",
                    legend: "Event types",
                    help: "What the endpoint is told of.",
                    choices: choices(&catalog.events, &values.events),
                    fault: None,
                },
                Group {
                    id: "channels",
                    legend: "Channels",
                    help: "Events of messages that were sent through these.",
                    choices: choices(&catalog.channels, &values.channels),
                    fault: None,
                },
            ],
            limits: limits(service, values.limits),
            shows_limits,
            summary: Vec::new(),
        }
    }

    /// With each fault beside the field that it is about.
    pub(super) fn with_faults(mut self, faults: &[Fault]) -> Self {
        for fault in faults {
            let field = fault.field.rsplit('.').next().unwrap_or_default().to_owned();
            self.note(&field, &fault.text);
        }
        let place = |id: &str| ORDER.iter().position(|known| *known == id).unwrap_or(ORDER.len());
        self.summary.sort_by_key(|(id, _)| place(id));
        self
    }

    /// With a fault of a field, or of none.
    pub(super) fn note(&mut self, id: &str, text: &str) {
        if let Some(group) = self.groups.iter_mut().find(|group| group.id == id) {
            let is_empty = group.choices.iter().all(|choice| !choice.is_chosen);
            let text = if is_empty { "Choose at least one.".to_owned() } else { capital(text) };
            self.summary.push((format!("all-{id}"), format!("{}: {text}", group.legend)));
            group.fault = Some(text);
            return;
        }
        let is_limit = LIMITS.contains(&id);
        self.shows_limits |= is_limit;
        let own = [
            &mut self.name,
            &mut self.url,
            &mut self.username,
            &mut self.password,
            &mut self.token,
        ];
        let mut fields = own.into_iter().chain(&mut self.limits);
        let Some(field) = fields.find(|field| field.id == id) else {
            self.summary.push(("name".to_owned(), capital(text)));
            return;
        };
        let begins = ["is ", "must "].iter().any(|word| text.starts_with(word));
        let text = if begins { format!("{} {text}", field.label) } else { capital(text) };
        self.summary.push((id.to_owned(), text.clone()));
        field.fault = Some(text);
    }
}

impl Field {
    fn new(id: &'static str, label: &'static str, kind: &'static str, value: String) -> Self {
        Self { id, label, kind, value, ..Self::default() }
    }

    /// The ids of what describes it, for those who do not see where that stands.
    pub(super) fn described_by(&self) -> String {
        let mut ids = Vec::new();
        if self.fault.is_some() {
            ids.push(format!("{}-fault", self.id));
        }
        if !self.help.is_empty() {
            ids.push(format!("{}-help", self.id));
        }
        ids.join(" ")
    }
}

fn limits(service: &Connections, values: [String; 5]) -> Vec<Field> {
    let defaults = service.defaults();
    let texts = [
        ("Rate", "Attempts a second, over all instances: 1–10000.", Some(defaults.rate_per_second)),
        ("Burst", "Attempts at once after a pause: 1–10000.", Some(defaults.burst)),
        ("In flight", "Attempts under way at once: 1–500.", Some(defaults.max_in_flight)),
        ("Timeout", "Seconds that an attempt may take: 1–30.", Some(defaults.timeout_seconds)),
        ("Greatest age", "Seconds after which an event is given up.", None),
    ];
    let field = |((id, (label, help, default)), value): ((&'static str, _), String)| {
        let default: Option<u32> = default;
        let help: &str = help;
        let placeholder = default.map_or_else(|| "none".to_owned(), |default| default.to_string());
        Field { help: help.to_owned(), placeholder, ..Field::new(id, label, "text", value) }
    };
    LIMITS.into_iter().zip(texts).zip(values).map(field).collect()
}

fn choices(names: &Names, chosen: &[String]) -> Vec<Choice> {
    let choice = |name: &crate::engine::catalog::Name| Choice {
        name: name.name.to_string(),
        label: name.label.to_string(),
        is_chosen: chosen.iter().any(|chosen| **chosen == *name.name),
    };
    names.iter().map(choice).collect()
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
