//! What is written down although no connection changes: that dead letters are put back.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::{ChangeError, Connections, PATIENCE};
use crate::admin::audit::RedriveRecord;
use crate::admin::dead_letters::{RedriveOrder, RedriveReport};
use crate::clock::wall_clock;
use crate::kafka::editor::Entry;

impl Connections {
    /// Writes a redrive's audit record, before it begins. Where nothing can be put back, there is nothing to write.
    ///
    /// # Errors
    /// [`ChangeError`]: it is not to begin.
    pub async fn note_redrive(
        &self,
        author: &str,
        order: &RedriveOrder,
        planned: &RedriveReport,
    ) -> Result<(), ChangeError> {
        if planned.redrivable == 0 {
            return Ok(());
        }
        let record = RedriveRecord::new(wall_clock().as_secs(), author, order, planned.redrivable);
        let entry = Entry {
            topic: Arc::clone(&self.0.audit_topic),
            partition: None,
            key: record.project_id.to_owned(),
            value: Some(Bytes::from(record.encode())),
        };
        let end = Instant::now() + PATIENCE;
        loop {
            let result = self.try_note(entry.clone()).await;
            if !matches!(result, Err(ChangeError::Busy)) || Instant::now() >= end {
                return result;
            }
            super::pause().await?;
        }
    }

    async fn try_note(&self, entry: Entry) -> Result<(), ChangeError> {
        Ok(self.0.editor.turn().await?.note(entry).await?)
    }
}
