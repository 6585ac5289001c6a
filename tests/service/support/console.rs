//! The service in this process, with its read models, as the admin API has them.

use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use barnabas::admin::read_models::ReadModels;
use barnabas::app::{App, TopicCheck};
use barnabas::config::Config;
use barnabas::shutdown::Shutdown;
use tokio::runtime::{Builder, Runtime};

use super::eventually;
use super::stage::Stage;

/// A running service that can be asked.
pub struct Console {
    pub models: ReadModels,
    runtime: Runtime,
    shutdown: Shutdown,
    service: Option<JoinHandle<()>>,
}

impl Console {
    /// Starts the service and waits for its read models.
    pub fn start(stage: &Stage) -> Self {
        let config = Config::load(Some(&stage.config())).unwrap();
        let shutdown = Shutdown::new(&config.shutdown);
        let slot: Arc<OnceLock<Arc<OnceLock<ReadModels>>>> = Arc::default();
        let (asked, filled) = (shutdown.clone(), Arc::clone(&slot));
        let service = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut app = App::build(config, TopicCheck::Look, asked).await.unwrap();
                filled.set(app.read_models()).unwrap();
                app.run().await.unwrap();
            });
        });
        let models = eventually("the read models are there", || {
            assert!(!service.is_finished(), "the service ended");
            slot.get()?.get().cloned()
        });
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self { models, runtime, shutdown, service: Some(service) }
    }

    /// Waits for an answer.
    pub fn ask<T>(&self, question: impl Future<Output = T>) -> T {
        self.runtime.block_on(question)
    }

    /// Stops the service in order.
    pub fn stop(mut self) {
        self.shutdown.ask();
        self.service.take().unwrap().join().unwrap();
    }
}

/// A test that fails ends the service, too.
impl Drop for Console {
    fn drop(&mut self) {
        self.shutdown.ask();
    }
}
