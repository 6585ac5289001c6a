//! Connections for people: what the table knows of them, and their changes.
//!
//! The API, the console and the commands all come here. A change takes one road: checked by the decoder's own rules
//! within the editor's turn, written with its audit record in one transaction, and shown by the table before it is
//! answered. Nothing here knows HTTP or who may do what; a secret goes in and never comes out.

mod draft;
mod entries;
mod error;
mod id;
mod notes;
mod page;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

pub use self::draft::Draft;
pub use self::error::ChangeError;
pub use self::id::IdempotencyKey;
pub use self::page::{Cursor, DEFAULT_LIMIT, Listing, MAX_LIMIT, Page, StatusFilter};
pub use self::view::{AuthView, ConnectionView, EffectiveStatus};

use self::draft::{Base, Composed};
use super::audit::Action;
use crate::clock::wall_clock;
use crate::engine::catalog::Catalog;
use crate::engine::connection::{Connection, ConnectionKey, DeliveryConfig, Status};
use crate::engine::table::{ConnectionTable, Row};
use crate::engine::time::Timestamp;
use crate::kafka::editor::Editor;
use crate::kafka::record::connection::ConnectionDecoder;

/// How long a change waits for its turn while other instances write.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries for the turn, and once more as much by chance.
const PAUSE: Duration = Duration::from_millis(50);

/// What the service is built from.
#[derive(Debug)]
pub struct Parts {
    /// The connections as they are.
    pub table: watch::Receiver<Arc<ConnectionTable>>,
    /// Whether they were read to their end.
    pub ready: watch::Receiver<bool>,
    /// Writes.
    pub editor: Editor,
    /// The rules. Its word on plain secrets holds for what is written.
    pub decoder: ConnectionDecoder,
    /// The audit topic.
    pub audit_topic: Arc<str>,
}

/// The connections' service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Parts>);

/// Which revision a change is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Whichever there is.
    Any,
    /// This one, or the change is refused.
    Revision(u64),
}

/// What became of a change.
#[derive(Debug)]
pub enum Applied {
    /// It is in force here, and within a second everywhere.
    Shown(Box<ConnectionView>),
    /// It is written for good, but this instance does not show it yet.
    Written(Box<ConnectionView>),
    /// There was nothing to change.
    Unchanged(Box<ConnectionView>),
}

/// What a look at the table says is to be done.
enum Decision {
    Write(Box<Change>),
    Nothing(ConnectionKey),
}

struct Change {
    key: ConnectionKey,
    action: Action,
    revision: u64,
    changed: Vec<String>,
    partition: Option<i32>,
    /// `None` deletes.
    connection: Option<Connection>,
}

impl From<Change> for Decision {
    fn from(change: Change) -> Self {
        Self::Write(Box::new(change))
    }
}

impl Connections {
    /// Builds the service.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The names of events and channels.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.0.decoder.catalog
    }

    /// The limits of a connection that sets itself none.
    #[must_use]
    pub fn defaults(&self) -> &DeliveryConfig {
        &self.0.decoder.defaults
    }

    /// A page of a project's connections.
    ///
    /// # Errors
    /// [`ChangeError::Starting`].
    pub fn list(&self, project: &str, listing: &Listing) -> Result<Page, ChangeError> {
        Ok(page::page(&*self.table()?, project, listing, self.catalog()))
    }

    /// Every project that has connections, with their number.
    ///
    /// # Errors
    /// [`ChangeError::Starting`].
    pub fn projects(&self) -> Result<BTreeMap<String, usize>, ChangeError> {
        Ok(self.table()?.projects().map(|(id, count)| (id.to_owned(), count)).collect())
    }

    /// One connection.
    ///
    /// # Errors
    /// [`ChangeError::NotFound`] or [`ChangeError::Starting`].
    pub fn get(&self, key: &ConnectionKey) -> Result<ConnectionView, ChangeError> {
        self.view(&*self.table()?, key)
    }

    /// Makes a connection. With the same idempotency key it is made once, however often and wherever it is asked for.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn create(
        &self,
        author: &str,
        project: &str,
        draft: &Draft,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Applied, ChangeError> {
        let key = id::key(project, idempotency)?;
        self.change(author, |table| {
            let row = table.row(&key).filter(|row| row.is_there());
            if row.is_some() {
                return Ok(Decision::Nothing(key.clone()));
            }
            let now = wall_clock();
            let base = Base { key: &key, revision: 1, created_at: now, known: None, author, now };
            let Composed { connection, changed } =
                draft.compose(&base, &self.0.decoder).map_err(ChangeError::Invalid)?;
            check_name(table, &connection)?;
            let partition = table.row(&key).and_then(Row::partition);
            let action = Action::Create;
            let connection = Some(connection);
            let key = key.clone();
            Ok(Change { key, action, revision: 1, changed, partition, connection }.into())
        })
        .await
    }

    /// Replaces a connection by what the draft says; a secret that it leaves blank stays.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn update(
        &self,
        author: &str,
        key: &ConnectionKey,
        draft: &Draft,
        expected: Expected,
    ) -> Result<Applied, ChangeError> {
        self.change(author, |table| {
            let row = expect(table, key, expected)?;
            let revision = row.revision() + 1;
            let known = row.known().map(|known| &**known);
            // What waits for a connection that could never be read is not older than it.
            let created_at = known.map_or(Timestamp::EPOCH, |known| known.created_at);
            let base = Base { key, revision, created_at, known, author, now: wall_clock() };
            let Composed { connection, changed } =
                draft.compose(&base, &self.0.decoder).map_err(ChangeError::Invalid)?;
            check_name(table, &connection)?;
            if changed.is_empty() && row.refusal().is_none() {
                return Ok(Decision::Nothing(key.clone()));
            }
            Ok(Decision::from(Change {
                key: key.clone(),
                action: Action::Update,
                revision,
                changed,
                partition: row.partition(),
                connection: Some(connection),
            }))
        })
        .await
    }

    /// Sets a connection active or inactive. Activating ends an automatic deactivation.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn set_status(
        &self,
        author: &str,
        key: &ConnectionKey,
        status: Status,
        expected: Expected,
    ) -> Result<Applied, ChangeError> {
        self.change(author, |table| {
            let row = expect(table, key, expected)?;
            let known = row.known().ok_or(ChangeError::Unreadable)?;
            let is_stopped = status == Status::Active && row.deactivation().is_some();
            if known.status == status && !is_stopped {
                return Ok(Decision::Nothing(key.clone()));
            }
            let revision = row.revision() + 1;
            let mut connection = Connection::clone(known);
            connection.status = status;
            connection.revision = revision;
            connection.notes.updated_at = Some(wall_clock());
            connection.notes.updated_by = Some(author.into());
            let action = match status {
                Status::Active => Action::Activate,
                Status::Inactive => Action::Deactivate,
            };
            Ok(Decision::from(Change {
                key: key.clone(),
                action,
                revision,
                changed: vec!["status".to_owned()],
                partition: row.partition(),
                connection: Some(connection),
            }))
        })
        .await
    }

    /// Deletes a connection; what is pending for it is dropped.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn delete(
        &self,
        author: &str,
        key: &ConnectionKey,
        expected: Expected,
    ) -> Result<Applied, ChangeError> {
        self.change(author, |table| {
            let row = expect(table, key, expected)?;
            Ok(Decision::from(Change {
                key: key.clone(),
                action: Action::Delete,
                revision: row.revision(),
                changed: Vec::new(),
                partition: row.partition(),
                connection: None,
            }))
        })
        .await
    }

    /// Makes a change as often as another instance comes in between, within reason.
    async fn change(
        &self,
        author: &str,
        decide: impl Fn(&ConnectionTable) -> Result<Decision, ChangeError> + Send + Sync,
    ) -> Result<Applied, ChangeError> {
        let end = Instant::now() + PATIENCE;
        loop {
            let result = self.try_change(author, &decide).await;
            if !matches!(result, Err(ChangeError::Busy)) || Instant::now() >= end {
                return result;
            }
            pause().await?;
        }
    }

    async fn try_change(
        &self,
        author: &str,
        decide: &(impl Fn(&ConnectionTable) -> Result<Decision, ChangeError> + Send + Sync),
    ) -> Result<Applied, ChangeError> {
        // What is wrong whoever has the turn is said at once.
        decide(&*self.table()?)?;
        let mut turn = self.0.editor.turn().await?;
        let table = self.table()?;
        let change = match decide(&table)? {
            Decision::Nothing(key) => {
                return Ok(Applied::Unchanged(Box::new(self.view(&table, &key)?)));
            }
            Decision::Write(change) => change,
        };
        let before = self.view(&table, &change.key).ok();
        let is_shown = turn.write(self.entries(author, &change)?).await?;
        drop(turn);
        let view = match (&change.connection, is_shown) {
            (Some(connection), false) => view::of_connection(connection, self.catalog()),
            // An own view where somebody else has deleted it in this moment.
            (Some(connection), true) => self
                .get(&change.key)
                .unwrap_or_else(|_| view::of_connection(connection, self.catalog())),
            (None, _) => before.ok_or(ChangeError::NotFound)?,
        };
        let view = Box::new(view);
        Ok(if is_shown { Applied::Shown(view) } else { Applied::Written(view) })
    }

    fn table(&self) -> Result<Arc<ConnectionTable>, ChangeError> {
        if !*self.0.ready.borrow() {
            return Err(ChangeError::Starting);
        }
        Ok(Arc::clone(&self.0.table.borrow()))
    }

    fn view(
        &self,
        table: &ConnectionTable,
        key: &ConnectionKey,
    ) -> Result<ConnectionView, ChangeError> {
        let row = table.row(key).filter(|row| row.is_there()).ok_or(ChangeError::NotFound)?;
        Ok(view::of_row(key, row, self.catalog()))
    }
}

/// Lets another instance have its turn.
async fn pause() -> Result<(), ChangeError> {
    let chance = u32::from(id::random_byte()?);
    sleep(PAUSE + PAUSE * chance / 256).await;
    Ok(())
}

fn expect<'a>(
    table: &'a ConnectionTable,
    key: &ConnectionKey,
    expected: Expected,
) -> Result<&'a Row, ChangeError> {
    let row = table.row(key).filter(|row| row.is_there()).ok_or(ChangeError::NotFound)?;
    match expected {
        Expected::Revision(revision) if revision != row.revision() => {
            Err(ChangeError::Stale(row.revision()))
        }
        Expected::Revision(_) | Expected::Any => Ok(row),
    }
}

fn check_name(table: &ConnectionTable, connection: &Connection) -> Result<(), ChangeError> {
    let key = &connection.key;
    let has_name = |row: &Row| row.known().is_some_and(|known| known.name == connection.name);
    let other = table.project(key.project()).find(|(other, row)| *other != key && has_name(row));
    match other {
        Some((other, _)) => Err(ChangeError::NameTaken(other.connection().into())),
        None => Ok(()),
    }
}
