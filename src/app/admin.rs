//! The admin API as a part of the service: built from its tokens and services, and served on the main runtime.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::info;

use super::part::End;
use super::{AppError, Service};
use crate::admin::api::{Admin, Beside};
use crate::admin::connections::{self, Connections};
use crate::admin::server;
use crate::engine::table::ConnectionTable;
use crate::kafka::connections::Progress;
use crate::kafka::editor::Editor;
use crate::kafka::record::connection::ConnectionDecoder;

impl Service {
    /// Listens and serves, also while the connections are still being read; `None` where it is not wanted.
    pub(super) async fn start_admin(
        &mut self,
        decoder: ConnectionDecoder,
        (table, progress): (watch::Receiver<Arc<ConnectionTable>>, watch::Receiver<Progress>),
        ends: &mpsc::Sender<End>,
    ) -> Result<Option<JoinHandle<()>>, AppError> {
        let (Some(address), Some(tokens)) = (self.config.admin.listen, self.tokens.take()) else {
            return Ok(None);
        };
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| AppError::ListenAdmin { address, source })?;
        let address = listener.local_addr()?;
        // All instances on these topics share it: the one that writes is known by it.
        let editor_id = format!("{}.editor", self.names.connections);
        let config = self.config.kafka.editor(&editor_id);
        let connections = Connections::new(connections::Parts {
            table,
            ready: self.status.table.clone(),
            editor: Editor::new(config, &self.names.connections, progress),
            decoder,
            audit_topic: self.names.audit.as_str().into(),
        });
        let read_models = Arc::clone(self.read_models.get_or_insert_default());
        let is_loopback = address.ip().is_loopback();
        let beside = if self.roles.has_console { Beside::Console } else { Beside::Nothing };
        let admin = Admin::new(tokens, connections, read_models, is_loopback, beside);
        let (shutdown, ends) = (self.shutdown.clone(), ends.clone());
        info!(%address, "the admin API is served");
        Ok(Some(tokio::spawn(async move {
            let end = server::serve(listener, admin, shutdown).await;
            // Nobody listens any more when everything is asked to stop.
            let _ = ends.try_send(("admin", end.err().map(|error| error.to_string())));
        })))
    }
}
