//! Redrives that go on by themselves: begun by one page, watched and stopped from others.
//!
//! They live in this instance, as sessions do; one that was pushed out by newer ones, or that a restart ended, is not
//! known any more. What it had put back by then shows in the dead letters.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

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
    stop: CancellationToken,
    end: Arc<OnceLock<RedriveState>>,
    run: JoinHandle<()>,
}

impl Begun {
    fn state(&self) -> RedriveState {
        let is_over = self.run.is_finished();
        match self.end.get() {
            Some(end) => end.clone(),
            None if is_over => RedriveState::Failed("a fault on our side; see the log".to_owned()),
            None => RedriveState::Running,
        }
    }
}

/// What a redrive is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedriveState {
    /// It goes on.
    Running,
    /// All was put back that can be.
    Done,
    /// Somebody stopped it before.
    Stopped,
    /// It ended before all was done, for this reason.
    Failed(String),
}

/// How far a redrive is that goes on by itself.
#[derive(Debug)]
pub struct UnderWay {
    /// What it is doing.
    pub state: RedriveState,
    /// What it has done so far.
    pub report: RedriveReport,
}

/// Why a redrive is not begun.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// Two at once would put the same letters back.
    #[error("a redrive of this project is under way: wait until it is done, or stop it")]
    UnderWay,
    /// There is no id for it.
    #[error(transparent)]
    NoId(#[from] TokensError),
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
    /// [`BeginError`].
    pub fn begin(&self, order: RedriveOrder) -> Result<String, BeginError> {
        let (id, project) = (random_text()?, order.project_id.clone());
        let mut begun = self.redrives.lock();
        let is_running =
            |begun: &Begun| begun.project == project && begun.state() == RedriveState::Running;
        if begun.iter().any(is_running) {
            return Err(BeginError::UnderWay);
        }
        if begun.len() >= KEPT
            && let Some(oldest) = begun.iter().position(|begun| begun.run.is_finished())
        {
            begun.remove(oldest);
        }
        let (sender, progress) = watch::channel(RedriveReport::default());
        let (stop, end) = (CancellationToken::new(), Arc::<OnceLock<RedriveState>>::default());
        let (letters, stopped, ended) = (self.clone(), stop.clone(), Arc::clone(&end));
        let run = tokio::spawn(async move {
            let state = match letters.redrive(&order, &sender, &stopped).await {
                Ok(report) if report.is_done => RedriveState::Done,
                Ok(_) => RedriveState::Stopped,
                Err(error) => RedriveState::Failed(error.to_string()),
            };
            ended.get_or_init(|| state);
        });
        begun.push_back(Begun { id: id.clone(), project, progress, stop, end, run });
        Ok(id)
    }

    /// How far a project's redrive is; `None` if it is not known here (any more).
    #[must_use]
    pub fn under_way(&self, project: &str, id: &str) -> Option<UnderWay> {
        self.redrives.with(project, id, |begun| {
            // Asked first: what is reported after it is the last word.
            let state = begun.state();
            UnderWay { state, report: begun.progress.borrow().clone() }
        })
    }

    /// Stops a project's redrive; what was put back stays so. Answers whether it is known here.
    pub fn stop(&self, project: &str, id: &str) -> bool {
        self.redrives.with(project, id, |begun| begun.stop.cancel()).is_some()
    }
}
