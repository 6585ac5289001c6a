//! Redrives that go on by themselves: begun by one page, watched and stopped from others.
//!
//! They live in this instance, as sessions do; one that was pushed out by newer ones, or that a restart ended, is not
//! known any more. What it had put back by then shows in the dead letters.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{DeadLetters, RedriveOrder, RedriveReport};
use crate::admin::tokens::{TokensError, random_text};

/// So many are remembered; beyond, the oldest that has ended is forgotten.
const KEPT: usize = 100;

/// What was begun.
#[derive(Clone, Debug, Default)]
pub(super) struct Redrives(Arc<Mutex<VecDeque<Begun>>>);

#[derive(Debug)]
struct Begun {
    id: String,
    project: Option<String>,
    progress: watch::Receiver<RedriveReport>,
    failure: Arc<OnceLock<String>>,
    run: JoinHandle<()>,
}

/// How far a redrive is that goes on by itself.
#[derive(Debug)]
pub struct UnderWay {
    /// What it has done so far.
    pub report: RedriveReport,
    /// Whether nothing more is going to be done.
    pub is_over: bool,
    /// Why it has ended before all was done, if nobody stopped it.
    pub failure: Option<String>,
}

impl Redrives {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Begun>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, project: &str, id: &str, look: impl FnOnce(&Begun) -> T) -> Option<T> {
        let begun = self.lock();
        let found =
            begun.iter().find(|begun| begun.id == id && begun.project.as_deref() == Some(project));
        found.map(look)
    }
}

impl DeadLetters {
    /// Begins a redrive that goes on until it is done or stopped, and answers its id.
    ///
    /// # Errors
    /// If the system has no random bytes for the id.
    pub fn begin(&self, order: RedriveOrder) -> Result<String, TokensError> {
        let id = random_text()?;
        let so_far = RedriveReport { is_done: false, ..self.dry_run(&order) };
        let (sender, progress) = watch::channel(so_far);
        let (letters, failure) = (self.clone(), Arc::<OnceLock<String>>::default());
        let (project, failed) = (order.project_id.clone(), Arc::clone(&failure));
        let run = tokio::spawn(async move {
            if let Err(error) = letters.redrive(&order, &sender).await {
                failed.get_or_init(|| error.to_string());
            }
        });
        let mut begun = self.redrives.lock();
        if begun.len() >= KEPT
            && let Some(oldest) = begun.iter().position(|begun| begun.run.is_finished())
        {
            begun.remove(oldest);
        }
        begun.push_back(Begun { id: id.clone(), project, progress, failure, run });
        Ok(id)
    }

    /// How far a project's redrive is; `None` if it is not known here (any more).
    #[must_use]
    pub fn under_way(&self, project: &str, id: &str) -> Option<UnderWay> {
        self.redrives.with(project, id, |begun| {
            // Asked first: what is reported after it is the last word.
            let is_over = begun.run.is_finished();
            UnderWay {
                report: begun.progress.borrow().clone(),
                is_over,
                failure: begun.failure.get().cloned(),
            }
        })
    }

    /// Stops a project's redrive; what was put back stays so. Answers whether it is known here.
    pub fn stop(&self, project: &str, id: &str) -> bool {
        self.redrives.with(project, id, |begun| begun.run.abort()).is_some()
    }
}
