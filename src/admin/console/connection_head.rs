//! What stands above every page of a connection: its name, whether events are delivered to it, and if not, why; what
//! may be done with it; and the tabs.
//!
//! Fills `connection_head.html` and `connection_tabs.html`, which expect it as `head`. Shows nobody what their role
//! may not do; `access` refuses it all the same.

use super::paths;
use crate::admin::access::Caller;
use crate::admin::api::Admin;
use crate::admin::connections::{ChangeError, ConnectionView, EffectiveStatus};
use crate::admin::problem::Problem;
use crate::admin::tokens::Role;
use crate::engine::connection::ConnectionKey;

/// The head of a connection's page.
#[derive(Debug)]
pub(super) struct ConnectionHead {
    /// Of its pages; the tabs' paths and those of the actions begin with it.
    pub(super) path: String,
    /// Of the list that it stands in.
    pub(super) list: String,
    /// Its name, or its id where no record of it can be read.
    pub(super) name: String,
    pub(super) status: Standing,
    /// As the caller may see it.
    pub(super) url: Option<String>,
    /// Which the actions are meant for.
    pub(super) revision: u64,
    /// What is wrong with its newest record.
    pub(super) faults: Vec<String>,
    /// `settings`, `attempts`, `health` or `test`.
    pub(super) tab: &'static str,
    /// What the caller may do with it.
    pub(super) actions: Vec<Action>,
    /// Whether the caller may change it and send it test events.
    pub(super) may_edit: bool,
}

/// Whether events are delivered, in words.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) text: &'static str,
    /// The class of its pill.
    pub(super) tone: &'static str,
    /// Why, where they are not.
    pub(super) why: Option<String>,
}

/// What can be done with a connection, once it is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Events are delivered again.
    Activate,
    /// No new attempt starts.
    Deactivate,
    /// It is no more.
    Delete,
}

impl ConnectionHead {
    /// Of a connection as the caller sees it, on the page of that tab.
    pub(super) fn of(caller: &Caller, view: &ConnectionView, tab: &'static str) -> Self {
        let role = caller.token.role;
        let actions = match view.effective_status {
            EffectiveStatus::Active => [Action::Deactivate, Action::Delete].as_slice(),
            EffectiveStatus::Inactive => &[Action::Activate, Action::Delete],
            EffectiveStatus::Unreadable => &[Action::Delete],
        };
        let fault = |fault: &crate::admin::problem::FieldProblem| {
            let field = fault.pointer.trim_start_matches('/').replace('/', ".");
            if field.is_empty() {
                fault.detail.clone()
            } else {
                format!("{field} {}", fault.detail)
            }
        };
        Self {
            path: paths::connection(&view.project_id, &view.connection_id),
            list: paths::list(&view.project_id),
            name: view.name.clone().unwrap_or_else(|| view.connection_id.clone()),
            status: Standing::of(view),
            url: view.url.clone(),
            revision: view.revision,
            faults: view.faults.iter().map(fault).collect(),
            tab,
            actions: actions.iter().copied().filter(|action| action.role() <= role).collect(),
            may_edit: role >= Role::Editor,
        }
    }
}

impl Standing {
    /// Of a connection.
    pub(super) fn of(view: &ConnectionView) -> Self {
        let (text, tone) = match view.effective_status {
            EffectiveStatus::Active if !view.faults.is_empty() => {
                ("Active, as it was before", "warn")
            }
            EffectiveStatus::Active => ("Active", "good"),
            EffectiveStatus::Inactive if view.reason.as_deref() == Some("user") => ("Inactive", ""),
            EffectiveStatus::Inactive => ("Inactive", "bad"),
            EffectiveStatus::Unreadable => ("Unreadable", "bad"),
        };
        let why = match view.effective_status {
            EffectiveStatus::Active => None,
            EffectiveStatus::Inactive => Some(in_words(view.reason.as_deref().unwrap_or_default())),
            EffectiveStatus::Unreadable => {
                Some("No record of it can be read; its events wait".to_owned())
            }
        };
        Self { text, tone, why }
    }
}

/// Why a connection is inactive.
fn in_words(reason: &str) -> String {
    match reason {
        "user" => "Deactivated by a user".to_owned(),
        "gone" => "Deactivated by Barnabas: the endpoint answered 410 Gone".to_owned(),
        "failing" => "Deactivated by Barnabas: no attempt succeeded for days".to_owned(),
        "egress_denied" => {
            "Deactivated by Barnabas: its host leads to an address that may not be called"
                .to_owned()
        }
        other => format!("Deactivated by Barnabas: {other}"),
    }
}

impl Action {
    /// The last part of its path.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::Deactivate => "deactivate",
            Self::Delete => "delete",
        }
    }

    /// What its button says.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Activate => "Activate",
            Self::Deactivate => "Deactivate",
            Self::Delete => "Delete",
        }
    }

    /// What comes of it.
    pub(super) const fn effect(self) -> &'static str {
        match self {
            Self::Activate => {
                "New events that it wants are delivered from now on. What became a dead letter meanwhile can be redriven."
            }
            Self::Deactivate => {
                "No new attempt starts. What is pending for it becomes dead letters, which can be redriven once it is \
                 active again."
            }
            Self::Delete => {
                "Its settings and its secret are deleted, and what is pending for it is dropped. This cannot be undone."
            }
        }
    }

    /// Whether it takes something away.
    pub(super) const fn is_harmful(self) -> bool {
        match self {
            Self::Activate => false,
            Self::Deactivate | Self::Delete => true,
        }
    }

    /// Who may do it; the routes ask for the same.
    pub(super) const fn role(self) -> Role {
        match self {
            Self::Activate | Self::Deactivate => Role::Editor,
            Self::Delete => Role::Operator,
        }
    }
}

/// The connection of a path, as the caller may see it.
///
/// # Errors
/// There is none, or the connections are not read yet.
pub(super) fn find(
    admin: &Admin,
    caller: &Caller,
    key: &ConnectionKey,
) -> Result<ConnectionView, Problem> {
    let view = admin.connections().get(key)?;
    Ok(if caller.token.role == Role::Viewer { view.for_viewer() } else { view })
}

/// The key that a path names.
///
/// # Errors
/// It can be no connection's.
pub(super) fn key(project: &str, id: &str) -> Result<ConnectionKey, Problem> {
    ConnectionKey::parse(&format!("{project}/{id}")).ok_or_else(|| ChangeError::NotFound.into())
}
